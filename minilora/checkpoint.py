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
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minilora.backend import array_module, to_host
from minilora.lora import LoraConfig, LoraError, add_lora, is_merged, lora_config, lora_layers, lora_shapes
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
    encoded = np.frombuffer(_json(full).encode(), dtype=np.uint8)
    path = Path(path)
    # Not tempfile, whose files nobody but their owner may read, for this one will be renamed.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, array in {"header": encoded, **tensors}.items():
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
                    # A ZipInfo of our own has a fixed date, where `writestr(name)` would put the time of day.
                    archive.writestr(zipfile.ZipInfo(name + ".npy"), buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _json(value: Any) -> str:
    """JSON, in which NumPy's numbers (r=np.int64(8)) are numbers."""
    return json.dumps(value, default=lambda scalar: scalar.item())


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
    if not isinstance(header.get("kind"), str) or not isinstance(header.get("tensors"), dict):
        raise CheckpointError(f"{path} has an incomplete header: make it again")
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
    write_file(path, "model", _description(model), model.state_dict())


def load_model(path: str | Path, allow_nonfinite: bool = False) -> GPT:
    """The model that `save_model` wrote, LoRA included.  CheckpointError as `read_file`.

    Nothing is built before the file is known to hold as many numbers as what its header describes.
    """
    header, tensors = read_file(path, "model", allow_nonfinite)
    with _refusing(path):
        config = GPTConfig(**header["config"])
        base = [name for name in tensors if not name.endswith((".lora_A", ".lora_B"))]
        if sum(tensors[name].size for name in base) != config.parameter_count:
            raise CheckpointError(f"{path}: its tensors are not those of {config}: make it again")
        model = GPT(config, seed=None)
        if header["lora"]:
            lora = LoraConfig(**header["lora"])
            _check_shapes({name: a for name, a in tensors.items() if name not in base}, lora_shapes(model, lora), path)
            add_lora(model, lora)
        model.load_state_dict(tensors)
    return model


def _description(model: GPT) -> dict[str, Any]:
    """What a header says about the model: its config, and its LoRA's."""
    lora = lora_config(model)
    return {"config": asdict(model.config), "lora": None if lora is None else asdict(lora)}


@contextlib.contextmanager
def _refusing(path: str | Path) -> Iterator[None]:
    """Inside, a header that lacks something or says something impossible is a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has an impossible header ({error}): make it again") from None


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
    merged = {f"{path}.weight": layer.base_weight for path, layer in lora_layers(model) if layer.merged}
    kept = {name: W0 for name, W0 in merged.items() if W0 is not None}
    if len(kept) < len(merged):
        raise LoraError("the LoRA was merged without keeping W0: call unmerge(model) first")
    state = {name: p.data for name, p in model.named_parameters().items() if name not in without} | kept
    return content_hash({name: to_host(array) for name, array in state.items()})


def save_adapter(model: GPT, path: str | Path) -> None:
    """Write only what LoRA trained, with its config and the hash of the base it belongs to."""
    config = lora_config(model)
    if config is None:
        raise LoraError("the model has no LoRA to save: call add_lora(model, config), or save_model for all of it")
    names = list(adapter_shapes(model, config))
    header = {**_description(model), "base_sha256": base_hash(model, names)}
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
    with _refusing(path):
        config = LoraConfig(**header["lora"])
        _check_description(header, model, path, check_lora=lora_config(model) is not None)
        _check_shapes(tensors, adapter_shapes(model, config), path)
        if check_base and header["base_sha256"] != base_hash(model, list(tensors)):
            raise CheckpointError(
                f"{path} was trained on another base (the weights' hash differs): load that base first, "
                "or pass check_base=False if you mean it"
            )
    if lora_config(model) is None:
        add_lora(model, config)
    for name, parameter in model.named_parameters().items():
        if name in tensors:
            xp = array_module(parameter.data)
            parameter.data[...] = xp.asarray(tensors[name], dtype=parameter.data.dtype)
    return model


def _check_description(header: dict[str, Any], model: GPT, path: Any, check_lora: bool = True) -> None:
    """CheckpointError unless the header describes this model: its base and, if asked, its LoRA."""
    # Through JSON, as the header went: it knows no tuples.
    present = json.loads(_json(_description(model)))
    for key, value in present["config"].items():
        if header["config"][key] != value:
            raise CheckpointError(
                f"{path} belongs to a base with {key}={header['config'][key]}, this model has {key}={value}"
            )
    if check_lora and header["lora"] != present["lora"]:
        raise CheckpointError(
            f"{path} belongs to the LoRA {header['lora']}, the model has {present['lora']}: "
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
    with _refusing(path):
        record = header["record"]
        _check_description(header, model, path)
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
    """The small byte-level model shipped inside the package, pre-trained on `python_docs()`, and its tokenizer.

    `minilora/weights/README.md` says how it was made.
    """
    return load_model(BASE_PATH), ByteTokenizer()
