"""GPT-2's weights, from a Hugging Face folder and back.

The arithmetic is that of `transformer.GPT`; only names and layout differ.

    here (out, in)                                   GPT-2 (in, out), in its class Conv1D
    blocks.{i}.attn.q_proj, k_proj, v_proj           h.{i}.attn.c_attn, the three side by side
    blocks.{i}.attn.o_proj                           h.{i}.attn.c_proj
    blocks.{i}.mlp.up_proj, down_proj                h.{i}.mlp.c_fc, c_proj
    wte, wpe, ln_1, ln_2, ln_f                       the same, not transposed

A language model's names start with `transformer.`, and `lm_head.weight`, if a file has it, repeats wte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilora.files.container import CheckpointError, as_path
from minilora.hf.layout import NO_HEAD, Layout, check_shape, is_head
from minilora.hf.safetensors_folder import StoredTensor, extra, read_json, stored_model, whole_folder
from minilora.hf.tokenizer import TOKENIZER_FILES, BPETokenizer, check_fits, load_tokenizer
from minilora.lora import LoraError, lora_layers
from minilora.nn import Decoder, check_type
from minilora.transformer import GPT, GPTConfig, shapes

# Our layer -> GPT-2's; c_attn holds q, k and v in this order.
LAYERS = {
    "attn.q_proj": "attn.c_attn",
    "attn.k_proj": "attn.c_attn",
    "attn.v_proj": "attn.c_attn",
    "attn.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}

# transformers' names for the tanh form of the GELU, each a different way to write it in code.
GELU_NAMES = ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh")
# What `transformer.GPT` computes, in the terms of config.json: also the values that missing keys stand for.
FIXED = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
SIZES = {"vocab_size": 50257, "n_positions": 1024, "n_layer": 12, "n_head": 12, "n_embd": 768}

# The causal mask, which old files store with the weights: as zeros and ones, or as a large negative number.
MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")

FILES = ("config.json", "model.safetensors", *TOKENIZER_FILES)


def gpt2_name(name: str) -> str:
    """GPT-2's name for a layer or parameter of ours, without `transformer.`: q, k and v share one."""
    block = re.fullmatch(r"blocks\.(\d+)\.(\w+(?:\.\w+_proj)?)(.*)", name)
    if block is None:
        return name
    index, layer, rest = block.groups()
    return f"h.{index}.{LAYERS.get(layer, layer)}{rest}"


def is_gpt2(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is GPT-2's; the first ones named no model_type."""
    return config.get("model_type", "gpt2" if "n_embd" in config else None) == "gpt2"


def is_conv1d(name: str) -> bool:
    """Whether GPT-2 stores this tensor as (in, out)."""
    return name.endswith(".weight") and any(f".{layer}." in name for layer in LAYERS.values())


GPT2 = Layout("GPT-2", GPTConfig, "transformer.", "wte", gpt2_name, is_conv1d)


# ------------------------------------------------------------------------------------------------ reading


def load_gpt2(folder: str | Path, dtype: str = "float32") -> tuple[GPT, BPETokenizer | None]:
    """The model in a Hugging Face GPT-2 folder, and its tokenizer, or None if the folder has none.

    Reads config.json; model.safetensors or its shards; tokenizer.json, or vocab.json and merges.txt. The model computes
    in `dtype`, whatever the file stores. Tensors are read one by one, so memory peaks at the model plus one tensor.
    GPT-2's own dropout, used only in its pre-training, is left out.
    CheckpointError if the folder is incomplete, damaged, or holds a model that `transformer.GPT` cannot be.
    """
    folder = as_path(folder)
    config = _model_config(folder, dtype)
    tokenizer = load_tokenizer(folder)
    stored = {name.removeprefix("transformer."): tensor for name, tensor in stored_model(folder).items()}
    stored = {name: tensor for name, tensor in stored.items() if not MASKS.fullmatch(name)}
    head = stored.pop("lm_head.weight", None)
    _check_tensors(config, stored, folder)
    check_fits(tokenizer, config.vocab_size, folder)
    model = GPT(config, seed=None)
    parameters = model.named_parameters()
    for name, parts in GPT2.parts(config).items():
        array = stored[name].read()
        pieces = np.split(array.T if is_conv1d(name) else array, len(parts))
        for part, piece in zip(parts, pieces, strict=True):
            parameters[part].data[...] = piece
        if name == "wte.weight" and head is not None and not np.array_equal(array, head.read()):
            raise CheckpointError(
                f"{folder}: lm_head.weight differs from wte.weight, and minilora's GPT-2 has no head of its own"
            )
    return model, tokenizer


def _model_config(folder: Path, dtype: str) -> GPTConfig:
    """The shape in config.json.  CheckpointError for a setting that `transformer.GPT` does not have, naming it."""
    path = folder / "config.json"
    found = read_json(path)
    if not found.keys() & {"model_type", "architectures", *SIZES}:
        raise CheckpointError(f"{path} names neither a model_type nor a size: it is not the configuration of a model")
    for name, value in FIXED.items():
        if found.get(name, value) not in (GELU_NAMES if name == "activation_function" else (value,)):
            raise CheckpointError(f"{path} sets {name} to {found[name]!r}: minilora computes {value!r} only")
    sizes = SIZES | {name: found[name] for name in SIZES if name in found}
    sizes["block_size"] = sizes.pop("n_positions")
    try:
        config = GPTConfig(**sizes, dtype=dtype)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if found.get("n_inner") not in (None, 4 * config.n_embd):
        raise CheckpointError(f"{path} sets n_inner={found['n_inner']!r}: minilora's is 4 n_embd = {4 * config.n_embd}")
    return config


def _check_tensors(config: GPTConfig, stored: dict[str, StoredTensor], folder: Path) -> None:
    """CheckpointError unless the folder stores every tensor of this model, in its shape, and no other.

    It comes before the model is built, so that no file makes us build what it does not hold.
    """
    blocks = len({block[1] for name in stored if (block := re.match(r"h\.(\d+)\.", name))})
    if blocks != config.n_layer:
        raise CheckpointError(
            f"{folder}: config.json says blocks {config.n_layer}, the weights say {blocks}: they are not of one model"
        )
    ours, layout = shapes(config), GPT2.parts(config)
    if odd := sorted(set(layout) ^ set(stored)):
        if head := next(filter(is_head, stored), None):
            raise CheckpointError(f"{folder} holds {head}: {NO_HEAD}")
        fault = "lacks" if odd[0] in layout else "has more than GPT-2's language model:"
        raise CheckpointError(
            f"{folder} {fault} the tensor {odd[0]} ({len(odd)} such): config.json and the weights are not of one model"
        )
    for name, parts in layout.items():
        d, *k = ours[parts[0]]
        expected = (len(parts) * d, *k)
        expected = expected[::-1] if is_conv1d(name) else expected
        check_shape(name, stored[name].shape, expected, GPT2.table, folder)


# ------------------------------------------------------------------------------------------------ writing


def save_gpt2(model: Decoder, folder: str | Path, tokenizer: BPETokenizer | None = None) -> None:
    """Write a folder that `transformers` loads as GPT2LMHeadModel, with the tokenizer if one is given.

    A LoRA goes into the weights: `merge(model)` it first, or write it beside them with `save_peft_adapter`.
    LoraError if it is not merged; ValueError if the model has parts that GPT-2 lacks; FileExistsError if the folder
    holds any other files. The folder appears whole or not at all.
    """
    check_type("the tokenizer", tokenizer, (BPETokenizer, type(None)), "give the one that came with the model, or None")
    if any(not layer.merged for _, layer in lora_layers(model)):
        raise LoraError("the LoRA is not in the weights: call merge(model) first, or save_peft_adapter(model, folder)")
    GPT2.check(model)
    with whole_folder(as_path(folder), FILES) as new:
        (new / "config.json").write_text(json.dumps(_hf_config(model, tokenizer), indent=2) + "\n")
        extra("safetensors.numpy").save_file(GPT2.tensors(model), new / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(new)


def _hf_config(model: Decoder, tokenizer: BPETokenizer | None) -> dict[str, Any]:
    """config.json: the model's sizes, and what the tokenizer's folder says beside them. Without that, dropout is 0, as
    minilora's base was trained."""
    c: Any = model.config
    end = None if tokenizer is None else tokenizer.end_of_text
    return {
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": end,
        "eos_token_id": end,
        **({} if tokenizer is None else tokenizer.carried()),
        **FIXED,
        "architectures": ["GPT2LMHeadModel"],
        "dtype": c.dtype,
        "vocab_size": c.vocab_size,
        "n_positions": c.block_size,
        "n_embd": c.n_embd,
        "n_layer": c.n_layer,
        "n_head": c.n_head,
    }
