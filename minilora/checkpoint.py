"""Models, adapters and training states in files (see `container` for the format), checked before anything changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minilora.backend import Array, array_module, to_host
from minilora.container import CheckpointError, content_hash, read_file, refusing, to_json, write_file
from minilora.lora import (
    LoraConfig,
    LoraError,
    add_lora,
    is_merged,
    lora_shapes,
    mergeable_layers,
    resolved_config,
)
from minilora.nn import Module
from minilora.optim import Adam
from minilora.text import ByteTokenizer
from minilora.transformer import GPT, GPTConfig

# ------------------------------------------------------------------------------------------------ models


def save_model(model: GPT, path: str | Path) -> None:
    """Write config, weights and, if the model has one, its LoRA.

    LoraError while a LoRA is merged; ValueError if another method has added parameters.
    """
    if is_merged(model):
        raise LoraError("the LoRA is merged: call remove_lora(model) to save W alone, or unmerge(model) for both")
    base = [p for name, p in model.named_parameters().items() if not name.endswith((".lora_A", ".lora_B"))]
    if sum(p.size for p in base) != model.config.parameter_count:
        raise ValueError("a method has added parameters to the model: save them with methods.save_trained")
    write_file(path, "model", _description(model), model.state_dict())


def load_model(path: str | Path, allow_nonfinite: bool = False) -> GPT:
    """The model that `save_model` wrote, LoRA included.  CheckpointError as `read_file`.

    Nothing is built before the file is known to hold as many numbers as what its header describes.
    """
    header, tensors = read_file(path, "model", allow_nonfinite)
    with refusing(path):
        config, lora = _config_and_lora(header)
        base = [name for name in tensors if not name.endswith((".lora_A", ".lora_B"))]
        tensor_count = 4 + 16 * config.n_layer  # wte, wpe, two of ln_f; 16 a block
        if len(base) != tensor_count or sum(tensors[name].size for name in base) != config.parameter_count:
            raise CheckpointError(f"{path}: its tensors are not those of {config}: make it again")
        _check_dtype(tensors, config.dtype, path)
        model = GPT(config, seed=None)
        if lora is not None:
            _check_shapes({name: a for name, a in tensors.items() if name not in base}, lora_shapes(model, lora), path)
            add_lora(model, lora)
        model.load_state_dict(tensors)
    return model


def _description(model: GPT) -> dict[str, Any]:
    """What a header says about the model: its config, and its LoRA's."""
    lora = resolved_config(model)
    return {"config": asdict(model.config), "lora": None if lora is None else asdict(lora)}


def _config_and_lora(header: Mapping[str, Any]) -> tuple[GPTConfig, LoraConfig | None]:
    """What `_description` put into a header: layers by name, since a hostile regular expression could run for ever."""
    said = header["lora"]
    if said is None:
        return GPTConfig(**header["config"]), None
    names = [*said["target_modules"], *said["rank_pattern"], *said["alpha_pattern"]]
    if not isinstance(said["target_modules"], list) or not all(re.fullmatch(r"[\w.]+", name) for name in names):
        raise ValueError("its LoRA config must name layers one by one")
    return GPTConfig(**header["config"]), LoraConfig(**said)


def _check_dtype(tensors: Mapping[str, np.ndarray], dtype: str, path: Any) -> None:
    """CheckpointError unless every tensor has the dtype that the config says."""
    for name, array in tensors.items():
        if array.dtype.name != dtype:
            raise CheckpointError(f"{path}: {name} is {array.dtype.name}, its config says {dtype}: make it again")


def _check_shapes(tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], path: Any) -> None:
    """CheckpointError unless these are exactly the tensors expected, by name and shape."""
    for name in sorted(tensors.keys() | expected.keys()):
        found = tensors[name].shape if name in tensors else "missing"
        if found != expected.get(name):
            raise CheckpointError(f"{path}: {name} is {found}, this model needs {expected.get(name, 'none')}")


# ---------------------------------------------------------------------------------------------- adapters


def adapter_shapes(model: Module, config: LoraConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of what makes the adapter: each A and B, and the biases that the `bias` setting trains.

    The model may have this LoRA already, or not yet.
    """
    shapes: dict[str, tuple[int, ...]] = {**lora_shapes(model, config)}
    adapted = {name.removesuffix(".lora_A") + ".bias" for name in shapes if name.endswith(".lora_A")}
    for name, parameter in model.named_parameters().items():
        if name.endswith(".bias") and (config.bias == "all" or (config.bias == "lora_only" and name in adapted)):
            shapes[name] = parameter.shape
    return shapes


def base_hash(model: Module, without: list[str]) -> str:
    """`content_hash` of the frozen base: all parameters but those named, W0 itself where a LoRA is merged."""
    merged = {f"{path}.weight": layer.base_weight for path, layer in mergeable_layers(model) if layer.merged}
    kept = {name: W0 for name, W0 in merged.items() if W0 is not None}
    if len(kept) < len(merged):
        raise LoraError("the LoRA was merged without keeping W0: call unmerge(model) first")
    state = {name: p.data for name, p in model.named_parameters().items() if name not in without} | kept
    return content_hash({name: to_host(array) for name, array in state.items()})


@dataclass(frozen=True)
class Adapter:
    """What an adapter file holds: everything that LoRA trained, and what it was trained on.

    config       the shape of the base
    base_sha256  the base's content: its `base_hash`; for an adapter with a parent, the parent's `sha256`
    lora         the LoRA config
    tensors      "PATH.lora_A" (r, k) and "PATH.lora_B" (d, r) of every adapted layer, and biases if they were trained
    parent       the name of the adapter that it was trained on top of (see `adapters.AdapterBank`), or None
    """

    config: GPTConfig
    base_sha256: str
    lora: LoraConfig
    tensors: dict[str, Array]
    parent: str | None = None

    @property
    def paths(self) -> list[str]:
        """The adapted layers."""
        return [name.removesuffix(".lora_A") for name in self.tensors if name.endswith(".lora_A")]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.tensors.values())

    @property
    def sha256(self) -> str:
        """The hash of all it is, its ancestors included, since they went into `base_sha256`: as a commit's in git."""
        said = to_json([self.base_sha256, asdict(self.lora)]).encode()
        tensors = {name: to_host(array) for name, array in self.tensors.items()}
        return content_hash({**tensors, "": np.frombuffer(said, dtype=np.uint8)})


def adapter_of(model: GPT) -> Adapter:
    """The adapter that the model's LoRA is, over the very arrays of the model.  LoraError if it has none."""
    lora = resolved_config(model)
    if lora is None:
        raise LoraError("the model has no LoRA to save: call add_lora(model, config), or save_model for all of it")
    names, parameters = list(adapter_shapes(model, lora)), model.named_parameters()
    return Adapter(model.config, base_hash(model, names), lora, {name: parameters[name].data for name in names})


def write_adapter(adapter: Adapter, path: str | Path) -> None:
    """Write an adapter file."""
    header = {
        "config": asdict(adapter.config),
        "lora": asdict(adapter.lora),
        "base_sha256": adapter.base_sha256,
        "parent": adapter.parent,
    }
    write_file(path, "adapter", header, {name: to_host(array) for name, array in adapter.tensors.items()})


def read_adapter(path: str | Path, allow_nonfinite: bool = False) -> Adapter:
    """The adapter in a file.  CheckpointError as `read_file`, or if its tensors are not those of its LoRA config."""
    header, tensors = read_file(path, "adapter", allow_nonfinite)
    with refusing(path):
        config, lora = _config_and_lora(header)
        base_sha256, parent = header["base_sha256"], header["parent"]
        if lora is None or not isinstance(base_sha256, str) or not isinstance(parent, (str, type(None))):
            raise ValueError("no LoRA config, base hash or parent")
        _check_dtype(tensors, config.dtype, path)
        adapter = Adapter(config, base_sha256, lora, tensors, parent)
        for name, array in tensors.items():
            path_of, _, kind = name.rpartition(".")
            if kind not in ("lora_A", "lora_B", "bias") or array.ndim != (1 if kind == "bias" else 2):
                raise ValueError(f"{name} of shape {array.shape} is no part of an adapter")
            if kind != "bias" and array.shape["AB".index(kind[-1])] != lora.rank(path_of):
                raise ValueError(f"{name} has shape {array.shape}, the rank is {lora.rank(path_of)}")
            if kind != "bias" and not (f"{path_of}.lora_A" in tensors and f"{path_of}.lora_B" in tensors):
                raise ValueError(f"{path_of} has only one of A and B")
    return adapter


def save_adapter(model: GPT, path: str | Path) -> None:
    """Write only what LoRA trained, with its config and the hash of the base it belongs to."""
    write_adapter(adapter_of(model), path)


def load_adapter(model: GPT, path: str | Path, allow_nonfinite: bool = False, check_base: bool = True) -> GPT:
    """Read an adapter into the model, adding its LoRA if there is none; returns the model.

    CheckpointError, before any change, if the file is not an adapter of this base (`check_base=False` lets it sit
    on another base of the same shape) or not of the LoRA that the model has; LoraError while a LoRA is merged.
    """
    adapter = read_adapter(path, allow_nonfinite)
    if is_merged(model):
        raise LoraError("the LoRA is merged: call unmerge(model) before you load another")
    present = resolved_config(model)
    _check_setup(adapter.config, adapter.lora, model, present or adapter.lora, path)
    with refusing(path):
        _check_shapes(adapter.tensors, adapter_shapes(model, adapter.lora), path)
    if adapter.parent is not None:
        raise CheckpointError(
            f"{path} was trained on top of the adapter {adapter.parent!r}: load both into an AdapterBank"
        )
    if check_base and adapter.base_sha256 != base_hash(model, list(adapter.tensors)):
        raise CheckpointError(
            f"{path} was trained on another base (the weights' hash differs): load that base first, "
            "or pass check_base=False if you mean it"
        )
    if present is None:
        add_lora(model, adapter.lora)
    for name, parameter in model.named_parameters().items():
        if name in adapter.tensors:
            parameter.data[...] = array_module(parameter.data).asarray(adapter.tensors[name])
    return model


def _check_setup(config: GPTConfig, lora: LoraConfig | None, model: GPT, present: LoraConfig | None, path: Any) -> None:
    """CheckpointError unless the configs in a file are the model's config and the LoRA present in it."""
    for key, value in asdict(model.config).items():
        if getattr(config, key) != value:
            raise CheckpointError(
                f"{path} belongs to a base with {key}={getattr(config, key)}, this model has {key}={value}"
            )
    if lora != present:
        raise CheckpointError(
            f"{path} belongs to the LoRA {lora}, the model has {present}: "
            "set the model up as it was then (remove_lora takes a LoRA off)"
        )


# ------------------------------------------------------------------------------------- training states


def save_training(
    path: str | Path, model: GPT, optimizer: Adam, record: dict[str, Any], best: Mapping[str, Any]
) -> None:
    """Write what `fit` needs to go on as if it had never stopped: the trainable parameters, Adam's state, the
    best weights so far, and a JSON `record` (step, losses, generator state)."""
    trainable = {name: to_host(p.data) for name, p in model.named_parameters().items() if p.trainable}
    tensors = {f"param.{name}": array for name, array in trainable.items()}
    tensors |= {f"adam.{name}": array for name, array in optimizer.state_dict().items()}
    tensors |= {f"best.{name}": to_host(array) for name, array in best.items()}
    header = {**_description(model), "base_sha256": base_hash(model, list(trainable)), "record": record}
    write_file(path, "training", header, tensors)


def load_training(path: str | Path, model: GPT, optimizer: Adam) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put a training state back into the model and optimizer; returns the record and the best weights so far.

    CheckpointError, before any change, if it is not the state of this model, set up as it was then.
    """
    header, tensors = read_file(path, "training")
    trainable = {name: p for name, p in model.named_parameters().items() if p.trainable}
    with refusing(path):
        record = header["record"]
        _check_setup(*_config_and_lora(header), model, resolved_config(model), path)
        # Adam may not have met a parameter yet, and there may be no best weights: those may lack, no others.
        groups = ("param", "adam.m", "adam.v", "best")
        known = {f"{group}.{name}": p.shape for group in groups for name, p in trainable.items()} | {"adam.t": ()}
        needed = [f"param.{name}" for name in trainable] + ["adam.t"]
        _check_shapes(tensors, {key: known[key] for key in known if key in tensors or key in needed}, path)
        if header["base_sha256"] != base_hash(model, list(trainable)):
            raise CheckpointError(
                f"{path} was trained on another base (the weights' hash differs): load that base first"
            )
    optimizer.load_state_dict({k.removeprefix("adam."): a for k, a in tensors.items() if k.startswith("adam.")})
    best = {}
    for name, parameter in trainable.items():
        xp = array_module(parameter.data)
        parameter.data[...] = xp.asarray(tensors[f"param.{name}"])
        if f"best.{name}" in tensors:
            best[name] = xp.asarray(tensors[f"best.{name}"])
    return record, best


# -------------------------------------------------------------------------------- the base that is shipped

BASE_PATH = Path(__file__).parent / "weights" / "base.npz"


def load_base() -> tuple[GPT, ByteTokenizer]:
    """The small byte-level model shipped inside the package, pre-trained by `minilora pretrain`, and its tokenizer.

    `minilora/weights/README.md` says how it was made.
    """
    return load_model(BASE_PATH), ByteTokenizer()
