"""GPT-2 and adapter folders as Hugging Face writes them, made by hand, without minilora's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

# No two sizes are equal, so that confusing two axes is an error of shape.
SIZES = {"vocab_size": 11, "n_positions": 9, "n_embd": 6, "n_layer": 2, "n_head": 3}
CONFIG = {"model_type": "gpt2", **SIZES}


def gpt2_tensors(seed: int = 0, sizes: dict[str, int] = SIZES) -> dict[str, np.ndarray]:
    """Random float32 weights under GPT-2's names without a prefix, matrices as (in, out)."""
    rng = np.random.default_rng(seed)
    C = sizes["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (sizes["vocab_size"], C),
        "wpe.weight": (sizes["n_positions"], C),
    }
    for i in range(sizes["n_layer"]):
        for layer, out, into in (
            ("attn.c_attn", 3, 1),
            ("attn.c_proj", 1, 1),
            ("mlp.c_fc", 4, 1),
            ("mlp.c_proj", 1, 4),
        ):
            shapes[f"h.{i}.{layer}.weight"] = (into * C, out * C)
            shapes[f"h.{i}.{layer}.bias"] = (out * C,)
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{norm}.weight": (C,), f"h.{i}.{norm}.bias": (C,)}
    shapes |= {"ln_f.weight": (C,), "ln_f.bias": (C,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_gpt2(
    folder: Path, tensors: dict[str, np.ndarray] | None = None, prefix: str = "transformer.", **settings: Any
) -> Path:
    """A GPT-2 folder without a tokenizer; `settings` change its config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | settings))
    tensors = gpt2_tensors() if tensors is None else tensors
    named = {name if name == "lm_head.weight" else prefix + name: array for name, array in tensors.items()}
    safetensors.numpy.save_file(named, folder / "model.safetensors")
    return folder


def write_bfloat16(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """float32 tensors whose lower 16 bits are zero, as bfloat16."""
    halves = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in tensors.items()}
    specs = {
        name: safetensors.TensorSpec(dtype="bfloat16", shape=h.shape, data_ptr=h.ctypes.data, data_len=h.nbytes)
        for name, h in halves.items()
    }
    safetensors.serialize_file(specs, path)


def write_adapter(folder: Path, tensors: dict[str, np.ndarray], root: str = "transformer.", **settings: Any) -> Path:
    """A PEFT adapter folder of these tensors; `settings` are its adapter_config.json beside the usual ones."""
    folder.mkdir(exist_ok=True)
    usual = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": ["c_attn"], "fan_in_fan_out": True}
    (folder / "adapter_config.json").write_text(json.dumps(usual | settings))
    named = {
        "base_model.model." + (name if name.startswith("lm_head") else root + name): np.ascontiguousarray(array)
        for name, array in tensors.items()
    }
    safetensors.numpy.save_file(named, folder / "adapter_model.safetensors")
    return folder


def write_tokenizer(folder: Path, text: str, vocab_size: int = 300) -> None:
    """A byte-level BPE learned from a text, as vocab.json and merges.txt."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text], vocab_size, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.save_model(str(folder))
