"""Llama-type folders and GGUF files, made by hand and without minilora's code."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from tests.gguf_files import Tensor, gguf_bytes, meaning, random_blocks

# Rows of 64 and 256 numbers, so that each type of block fits; every size is another number where it can be.
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
CONFIG = {"model_type": "llama", "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 1e4, **SIZES}

# transformers' name -> GGUF's, for what every variant has; then shape by name.
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
BLOCK_SHAPES = {
    "self_attn.q_proj.weight": (64, 64),
    "self_attn.k_proj.weight": (32, 64),
    "self_attn.v_proj.weight": (32, 64),
    "self_attn.o_proj.weight": (64, 64),
    "mlp.gate_proj.weight": (256, 64),
    "mlp.up_proj.weight": (256, 64),
    "mlp.down_proj.weight": (64, 256),
    "input_layernorm.weight": (64,),
    "post_attention_layernorm.weight": (64,),
}
QWEN2 = {f"self_attn.{name}_proj.bias": (n,) for name, n in (("q", 64), ("k", 32), ("v", 32))}
QWEN3 = {f"self_attn.{name}_norm.weight": (16,) for name in "qk"}
EXTRAS = {"llama": {}, "qwen2": QWEN2, "qwen3": QWEN3}


def shapes(kind: str = "llama") -> dict[str, tuple[int, ...]]:
    """transformers' name -> shape."""
    block = BLOCK_SHAPES | EXTRAS[kind]
    blocks = {f"model.layers.{i}.{name}": shape for i in range(2) for name, shape in block.items()}
    return {"model.embed_tokens.weight": (300, 64), **blocks, "model.norm.weight": (64,)}


def tensors(kind: str = "llama", seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 weights under transformers' names."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) * 0.2 for name, shape in shapes(kind).items()}


def write_folder(folder: Path, arrays: dict[str, np.ndarray] | None = None, **settings: Any) -> Path:
    """A folder without a tokenizer; `settings` change its config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | settings))
    safetensors.numpy.save_file(tensors() if arrays is None else arrays, folder / "model.safetensors")
    return folder


# ------------------------------------------------------------------------------------------------- GGUF


def settings(kind: str = "llama", **changes: Any) -> dict[str, Any]:
    """The settings of a model of SIZES, with a byte-level tokenizer of 300 tokens."""
    said: dict[str, Any] = {
        "general.architecture": kind,
        f"{kind}.block_count": 2,
        f"{kind}.context_length": 32,
        f"{kind}.embedding_length": 64,
        f"{kind}.feed_forward_length": 256,
        f"{kind}.attention.head_count": 4,
        f"{kind}.attention.head_count_kv": 2,
        f"{kind}.rope.freq_base": 1e4,
        f"{kind}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{kind}.rope.dimension_count": 16,
        **tokenizer_settings(),
    }
    return {name: value for name, value in (said | changes).items() if value is not None}


CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
)


def tokenizer_settings(pre: str = "smollm") -> dict[str, Any]:
    """Three special tokens, the 256 bytes as GPT-2 spells them, and 41 words that merges make."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    bytes_ = [chr(b if chr(b).isprintable() and b not in (32, 173) and not 127 <= b <= 160 else 0) for b in range(256)]
    spare = iter(range(256, 512))
    bytes_ = [c if c != "\0" else chr(next(spare)) for c in bytes_]
    words, merges = [], []
    for i in range(41):
        a, b = bytes_[97 + i % 26], bytes_[97 + (i * 7 + 1) % 26] if i < 26 else bytes_[101]
        if a + b not in words:
            merges.append(f"{a} {b}")
        words.append(a + b if a + b not in words else f"unused{i}")
    tokens = special + bytes_ + words
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(tokens) - 3),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": CHATML,
    }


def gguf_name(name: str) -> str:
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}.get(
            name, "output.weight"
        )
    _, _, i, *path, last = name.split(".")
    return f"blk.{i}.{NAMES['.'.join(path)]}.{last}"


def reorder(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k as llama.cpp wants them: rows 0, D/2, 1, D/2 + 1, ... of each head."""
    D = len(rows) // heads
    order = [h * D + i // 2 + (i % 2) * (D // 2) for h in range(heads) for i in range(D)]
    return rows[order]


def gguf_tensors(
    types: dict[str, str], kind: str = "llama", seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """GGUF tensors of random blocks, and what they mean under transformers' names.  `types` gives a tensor's type by
    the end of its name, else F32."""
    rng = np.random.default_rng(seed)
    stored: dict[str, Tensor] = {}
    means: dict[str, np.ndarray] = {}
    for name, shape in shapes(kind).items():
        type_ = next((t for end, t in types.items() if name.endswith(end)), "F32")
        data = random_blocks(type_, shape, rng)
        heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2]) if kind == "llama" else None
        means[name] = meaning(type_, data).reshape(shape)
        if heads is not None:
            rows = np.frombuffer(data, np.uint8).reshape(shape[0], -1)
            data = reorder(rows, heads).tobytes()
        stored[gguf_name(name)] = (type_, shape, data)
    return stored, means


def write_gguf(
    path: Path, types: dict[str, str] | None = None, kind: str = "llama", **changes: Any
) -> dict[str, np.ndarray]:
    """A GGUF file, or a wheel with it, at `path`; returns what its tensors mean under transformers' names."""
    stored, means = gguf_tensors(types or {}, kind)
    data = gguf_bytes(settings(kind, **changes), stored)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model/model.gguf", data)
    else:
        path.write_bytes(data)
    return means
