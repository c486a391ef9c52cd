"""What we compare with: transformers' GPT-2 with SDPA attention, PEFT's LoRA and torch's AdamW, eager, float32.

GPT-2 in transformers has one fused c_attn for q, k and v, so PEFT's r = 8 adapts that layer, as its users do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.shapes import LORA, WORKERS, Shape

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def available() -> bool:
    """Whether torch, transformers and peft can be imported."""
    try:
        import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        return False
    return True


def gpt2(shape: Shape) -> Any:
    """A random GPT-2 of this shape, without dropout."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(WORKERS)
    V, T, layers, heads, C, _ = shape
    sizes = {"vocab_size": V, "n_positions": T, "n_layer": layers, "n_head": heads, "n_embd": C}
    no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**sizes, **no_dropout, **ends, attn_implementation="sdpa"))


def pytorch_step(shape: Shape) -> Callable[[], None]:
    """One LoRA training step with torch and PEFT."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=LORA.r, lora_alpha=LORA.lora_alpha, target_modules=["c_attn"], fan_in_fan_out=True)
    model = get_peft_model(gpt2(shape), config).train()
    return step_of(model, shape.tokens(), lr=1e-4)


def generate(model: Any, prompt: np.ndarray, new: int) -> Callable[[], Any]:
    """Greedy generation of `new` tokens after each row of the prompt (B, T)."""
    import torch

    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
    given = torch.from_numpy(prompt)
    return lambda: model.eval().generate(given, attention_mask=torch.ones_like(given), **options)


def step_of(model: Any, tokens: np.ndarray, lr: float) -> Callable[[], None]:
    """A training step of the model on (B, T + 1) tokens."""
    import torch

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    data = torch.from_numpy(tokens)
    inputs, targets = data[:, :-1].contiguous(), data[:, 1:].reshape(-1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(input_ids=inputs, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets).backward()
        optimizer.step()

    return step
