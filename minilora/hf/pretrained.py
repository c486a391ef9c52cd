"""A base of either architecture, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minilora.files.container import as_path
from minilora.hf.gpt2 import is_gpt2, load_gpt2, save_gpt2
from minilora.hf.llama import load_llama, save_llama
from minilora.hf.safetensors_folder import read_json
from minilora.hf.tokenizer import BPETokenizer
from minilora.transformer import GPT


def load_pretrained(path: str | Path, quantized: str | None = None) -> tuple[Any, BPETokenizer | None]:
    """`load_gpt2` or `load_llama`, as the folder's config.json asks; a file can only be of Llama's type.

    ValueError if `quantized` is asked of GPT-2.
    """
    path = as_path(path)
    if path.is_dir() and is_gpt2(read_json(path / "config.json")):
        if quantized is not None:
            raise ValueError(f"{path} holds GPT-2, which is not read in 4 bits: call quantized.quantize(model) on it")
        return load_gpt2(path)
    return load_llama(path, quantized=quantized)


def save_pretrained(model: Any, folder: str | Path, tokenizer: BPETokenizer | None = None) -> None:
    """`save_gpt2` or `save_llama`."""
    (save_gpt2 if isinstance(model, GPT) else save_llama)(model, folder, tokenizer)
