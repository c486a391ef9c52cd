"""Models, adapters and training states as .npz files that can be trusted.

A file is an ordinary .npz (a zip of .npy arrays, stored, not compressed) whose member `header` holds JSON: the
format's name and version, the kind of file, the configs, and the shape and dtype of every tensor. Loading runs
no code, believes no size that the file does not honestly have, and changes nothing before all is checked.
Writing goes to a temporary name that is then renamed: a process killed at any point leaves the old file or the
new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minilora.backend import array_module, to_host
from minilora.lora import LoraConfig, LoraError, add_lora, is_merged, lora_config, lora_layers
from minilora.nn import Module
from minilora.optim import Adam
from minilora.text import ByteTokenizer
from minilora.transformer import GPT, GPTConfig

FORMAT = "minilora"
VERSION = 1
DTYPES = ("float16", "float32", "float64", "int64", "uint8")


class CheckpointError(ValueError):
    """A file that cannot be loaded; the message says what was found, what was expected and what to do."""


# ----------------------------------------------------------------------------------------- the container


def write_file(path: str | Path, kind: str, header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors and a JSON header of this `kind` as one .npz; the same content gives the same bytes."""
    described = {name: [list(a.shape), a.dtype.name] for name, a in tensors.items()}
    full = {"format": FORMAT, "version": VERSION, "kind": kind, **header, "tensors": described}
    encoded = np.frombuffer(json.dumps(full).encode(), dtype=np.uint8)
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, array in {"header": encoded, **tensors}.items():
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
                    # A ZipInfo of our own has a fixed date, where `writestr(name)` would put the time of day.
                    archive.writestr(zipfile.ZipInfo(name + ".npy"), buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_file(
    path: str | Path, kind: str | None = None, allow_nonfinite: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(header, tensors) of a file that `write_file` wrote; `kind` None takes any.

    CheckpointError if it is another kind of file, another version, damaged, or holds NaN or infinity (unless
    `allow_nonfinite`); OSError if it cannot be opened.
    """
    path = Path(path)
    with open(path, "rb") as file:
        try:
            header, tensors = _read_archive(file, path)
        except CheckpointError:
            raise
        except Exception as error:
            # zipfile raises a dozen different errors on damaged bytes; each means the same to a reader.
            raise CheckpointError(
                f"{path} is damaged or no minilora file ({type(error).__name__}: {error}): make or fetch it again"
            ) from None
    if kind is not None and header["kind"] != kind:
        raise CheckpointError(f"{path} holds a {header['kind']}, where a {kind} was expected")
    if not allow_nonfinite:
        for name, array in tensors.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CheckpointError(
                    f"{path}: {name} holds NaN or infinity, so its training failed: use an earlier file, "
                    "or pass allow_nonfinite=True to look at this one"
                )
    return header, tensors


def _read_archive(file: Any, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size:
            raise CheckpointError(f"{path} says it unpacks to more than it is: refused. minilora's files do not")
        names = [m.filename.removesuffix(".npy") for m in members]
        if "header" not in names:
            raise CheckpointError(f"{path} has no minilora header: write it with save_model or save_adapter")
        header = _checked_header(json.loads(bytes(_parse_npy(archive.read("header.npy")))), path)
        expected = ["header", *header["tensors"]]
        if sorted(names) != sorted(expected):
            odd = sorted(set(names) ^ set(expected)) or ["a name that occurs twice"]
            raise CheckpointError(f"{path}: its tensors and its header disagree about {odd[0]}: make it again")
        tensors = {}
        for name, (shape, dtype) in header["tensors"].items():
            array = _parse_npy(archive.read(name + ".npy"))  # zipfile checks the CRC-32 of what it reads
            if list(array.shape) != shape or array.dtype.name != dtype:
                raise CheckpointError(
                    f"{path}: {name} is {array.dtype.name} {array.shape}, its header says {dtype} {tuple(shape)}"
                )
            tensors[name] = array
    return header, tensors


def _checked_header(header: Any, path: Path) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path} has no minilora header: write it with save_model or save_adapter")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {header.get('version')}, this minilora reads {VERSION}: "
            "use the minilora that wrote it"
        )
    return header


def _parse_npy(data: bytes) -> np.ndarray:
    """An array from the bytes of a .npy file.  Unlike np.load it never allocates what the bytes do not hold."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not a version 1.0 .npy array")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran_order or dtype.name not in DTYPES:
        raise ValueError(f"an array of dtype {dtype} is not one of {', '.join(DTYPES)}")
    # frombuffer counts the bytes for us: a shape that does not fit them cannot be taken on.
    return np.frombuffer(data, dtype=dtype, offset=stream.tell()).reshape(shape).copy()


def content_hash(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes, in order of name: equal exactly for equal tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------ models


def save_model(model: GPT, path: str | Path) -> None:
    """Write config, weights and, if the model has one, its LoRA.  LoraError while a LoRA is merged."""
    if is_merged(model):
        raise LoraError("the LoRA is merged: call remove_lora(model) to save W alone, or unmerge(model) for both")
    header = {"config": asdict(model.config), "lora": _lora_header(model)}
    write_file(path, "model", header, model.state_dict())


def load_model(path: str | Path, allow_nonfinite: bool = False) -> GPT:
    """The model that `save_model` wrote, LoRA included.  CheckpointError as `read_file`."""
    header, tensors = read_file(path, "model", allow_nonfinite)
    try:
        model = GPT(GPTConfig(**header["config"]), seed=None)
        if header["lora"]:
            add_lora(model, LoraConfig(**header["lora"]))
        model.load_state_dict(tensors)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    return model


def _lora_header(model: Module) -> dict[str, Any] | None:
    config = lora_config(model)
    return None if config is None else asdict(config)


# ---------------------------------------------------------------------------------------------- adapters


def adapter_names(model: Module) -> list[str]:
    """The parameters that make the adapter: every A and B, and the biases that the LoRA's `bias` setting trains."""
    adapted = tuple(f"{path}." for path, _ in lora_layers(model))
    config = lora_config(model)
    bias = "none" if config is None else config.bias
    return [
        name
        for name in model.named_parameters()
        if name.endswith((".lora_A", ".lora_B"))
        or (name.endswith(".bias") and (bias == "all" or (bias == "lora_only" and name.startswith(adapted))))
    ]


def base_hash(model: Module, without: list[str]) -> str:
    """`content_hash` of the frozen base: all parameters but those named, W0 itself where a LoRA is merged."""
    merged = {f"{path}.weight": layer.base_weight for path, layer in lora_layers(model) if layer.merged}
    kept = {name: W0 for name, W0 in merged.items() if W0 is not None}
    if len(kept) < len(merged):
        raise LoraError("the LoRA was merged without keeping W0: call unmerge(model) first")
    state = {name: p.data for name, p in model.named_parameters().items() if name not in without} | kept
    return content_hash({name: to_host(array) for name, array in state.items()})


def save_adapter(model: GPT, path: str | Path) -> None:
    """Write only what LoRA trained, with its config and the hash of the base it belongs to."""
    if not any(lora_layers(model)):
        raise LoraError("the model has no LoRA to save: call add_lora(model, config), or save_model for all of it")
    names = adapter_names(model)
    header = {"config": asdict(model.config), "lora": _lora_header(model), "base_sha256": base_hash(model, names)}
    parameters = model.named_parameters()
    write_file(path, "adapter", header, {name: to_host(parameters[name].data) for name in names})


def load_adapter(model: GPT, path: str | Path, allow_nonfinite: bool = False, check_base: bool = True) -> GPT:
    """Read an adapter into the model, adding its LoRA if there is none; returns the model.

    CheckpointError, before any change, if the file is not an adapter of this base (`check_base=False` lets it sit
    on another base of the same shape) or not of the LoRA that the model has; LoraError while a LoRA is merged.
    """
    header, tensors = read_file(path, "adapter", allow_nonfinite)
    if is_merged(model):
        raise LoraError("the LoRA is merged: call unmerge(model) before you load another")
    try:
        config = LoraConfig(**header["lora"])
        _check_fit(model, config, header, tensors, path, check_base)
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{path} has an incomplete header ({error}): make it again") from None
    if not any(lora_layers(model)):
        add_lora(model, config)
    for name, parameter in model.named_parameters().items():
        if name in tensors:
            xp = array_module(parameter.data)
            parameter.data[...] = xp.asarray(tensors[name], dtype=parameter.data.dtype)
    return model


def _check_fit(model: GPT, config: LoraConfig, header: dict, tensors: dict, path: Any, check_base: bool) -> None:
    """CheckpointError unless these tensors are the adapter of this model, as it is or as `config` would make it."""
    for key, value in asdict(model.config).items():
        if header["config"][key] != value:
            raise CheckpointError(
                f"{path} belongs to a base with {key}={header['config'][key]}, this model has {key}={value}"
            )
    twin = GPT(model.config, seed=None)  # what the model will look like, tried on one that does not matter
    try:
        add_lora(twin, config)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    present = lora_config(model)
    if present is not None and asdict(present) != asdict(config):
        raise CheckpointError(
            f"{path} was trained with {config}, the model has {present}: call remove_lora(model) first"
        )
    parameters = twin.named_parameters()
    expected = adapter_names(twin)
    if sorted(tensors) != sorted(expected):
        raise CheckpointError(f"{path}: expected {len(expected)} tensors of the LoRA, found {len(tensors)} others")
    for name in expected:
        if tensors[name].shape != parameters[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tensors[name].shape}, this model needs {parameters[name].shape}"
            )
    if check_base and header["base_sha256"] != base_hash(model, expected):
        raise CheckpointError(
            f"{path} was trained on another base (the weights' hash differs): load that base first, "
            "or pass check_base=False if you mean it"
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
    header = {"base_sha256": base_hash(model, list(trainable)), "record": record}
    write_file(path, "training", header, tensors)


def load_training(path: str | Path, model: GPT, optimizer: Adam) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put a training state back into the model and optimizer; returns the record and the best weights so far."""
    header, tensors = read_file(path, "training")
    groups: dict[str, dict[str, np.ndarray]] = {"param": {}, "adam": {}, "best": {}}
    for key, array in tensors.items():
        group, _, name = key.partition(".")
        groups[group][name] = array
    trainable = {name: p for name, p in model.named_parameters().items() if p.trainable}
    shapes = {name: array.shape for name, array in groups["param"].items()}
    if shapes != {name: p.shape for name, p in trainable.items()}:
        raise CheckpointError(f"{path} trained other parameters than this model does: set it up as it was then")
    if header["base_sha256"] != base_hash(model, list(trainable)):
        raise CheckpointError(f"{path} was trained on another base (the weights' hash differs): load that base first")
    optimizer.load_state_dict(groups["adam"])
    for name, parameter in trainable.items():
        xp = array_module(parameter.data)
        parameter.data[...] = xp.asarray(groups["param"][name])
        if name in groups["best"]:
            groups["best"][name] = xp.asarray(groups["best"][name])
    return header["record"], groups["best"]


# -------------------------------------------------------------------------------- the base that is shipped

BASE_PATH = Path(__file__).parent / "weights" / "base.npz"


def load_base() -> tuple[GPT, ByteTokenizer]:
    """The small byte-level model shipped inside the package, pre-trained on `python_docs()`, and its tokenizer.

    `minilora/weights/README.md` says how it was made.
    """
    return load_model(BASE_PATH), ByteTokenizer()
