"""GPT-2 and LoRA as transformers and PEFT compute them, on random models and random tokens."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

NEEDS = 'needs the extra: pip install "minilora[hf,parity]"'
torch = pytest.importorskip("torch", reason=NEEDS)
transformers = pytest.importorskip("transformers", reason=NEEDS)
peft = pytest.importorskip("peft", reason=NEEDS)
pytest.importorskip("safetensors", reason=NEEDS)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore", module=r"(peft|transformers)\.")

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def random_config(seed: int) -> transformers.GPT2Config:
    """A GPT-2 of one to three layers, every size drawn."""
    rng = np.random.default_rng(seed)
    n_head = int(rng.integers(1, 5))
    return transformers.GPT2Config(
        vocab_size=int(rng.integers(20, 60)),
        n_positions=int(rng.integers(8, 20)),
        n_layer=int(rng.integers(1, 4)),
        n_head=n_head,
        n_embd=n_head * int(rng.integers(2, 9)),
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )


def random_gpt2(seed: int, dtype: str = "float64", config=None) -> transformers.GPT2LMHeadModel:
    """Weights as if trained: no bias is zero, no softmax flat, no gradient vanishes."""
    torch.manual_seed(seed)
    model = transformers.GPT2LMHeadModel(config or random_config(seed)).to(DTYPES[dtype])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            std = 1.0 if "wte" in name or "wpe" in name else 0.2
            mean = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
            parameter.copy_(mean + std * torch.randn(parameter.shape, dtype=parameter.dtype))
    return model.eval()


def loaded(folder: Path, dtype: str = "float64") -> transformers.GPT2LMHeadModel:
    """GPT-2 from a folder, by transformers."""
    return transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=DTYPES[dtype]).eval()


def random_tokens(config, seed: int, rows: int = 3) -> np.ndarray:
    """(rows, n_positions) tokens."""
    return np.random.default_rng(seed).integers(config.vocab_size, size=(rows, config.n_positions))


def logits(model, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(tokens)).logits.numpy()


class SeparateQKV(torch.nn.Module):
    """c_attn as three layers that PEFT can adapt one by one, as minilora does; the same numbers come out."""

    def __init__(self, c_attn) -> None:
        super().__init__()
        parts = zip(("q_proj", "k_proj", "v_proj"), c_attn.weight.chunk(3, dim=1), c_attn.bias.chunk(3), strict=True)
        for name, weight, bias in parts:
            layer = torch.nn.Linear(*weight.shape, dtype=weight.dtype)
            layer.weight.data, layer.bias.data = weight.data.T.clone(), bias.data.clone()
            self.add_module(name, layer)

    def forward(self, x):
        return torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], dim=-1)


def separated(model):
    """The model with separate q, k and v, in place."""
    for block in model.transformer.h:
        block.attn.c_attn = SeparateQKV(block.attn.c_attn)
    return model
