"""Folders as Hugging Face stores them: JSON beside safetensors, validated before use, written whole or not at all.

A .safetensors file is 8 bytes with the length of a JSON header, the header (name -> dtype, shape and place of each
tensor), then the tensors' bytes, row by row and little-endian. The `safetensors` library validates and writes such
files. We read the bytes ourselves, one tensor at a time: its NumPy interface has no bfloat16, and it reads through a
memory map, which would count the file a second time.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minilora.files.container import CheckpointError, check_is_file

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# bfloat16 is the upper half of a float32. NumPy has no such dtype, so we read its bits as whole numbers.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def extra(module: str) -> ModuleType:
    """An optional package.  ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f'{module} is not installed: pip install "minilora[hf]"') from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.  CheckpointError if it is missing or holds something else."""
    if path.parent.is_file():
        raise CheckpointError(f"{path.parent} is a file: give the folder that holds it, with {path.name} in it")
    try:
        check_is_file(path)
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: give the folder that holds it") from None
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON ({error}). Fetch it again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__} where a JSON object was expected")
    return content


class StoredTensor(NamedTuple):
    """Where a tensor is: its file, its first byte there, its dtype in safetensors' terms, and its shape."""

    path: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """The tensor, float16 and bfloat16 widened to float32, which holds them exactly.

        CheckpointError if its dtype is none of these floats, or a number is NaN or infinite.
        """
        if self.dtype not in DTYPES:
            raise CheckpointError(
                f"{self.path} stores weights as {self.dtype}, expected one of {', '.join(DTYPES)}: "
                "use the model before it was quantized"
            )
        array = np.fromfile(self.path, DTYPES[self.dtype], math.prod(self.shape), offset=self.offset)
        if self.dtype == "F16":
            array = array.astype(np.float32)
        elif self.dtype == "BF16":
            bits = array.astype(np.uint32)
            bits <<= 16
            array = bits.view(np.float32)
        # Both extremes are NaN if any number is, and unlike isfinite(array) they need no array of their own.
        if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
            raise CheckpointError(f"{self.path} holds NaN or infinity, so its training failed: use an earlier one")
        return array.reshape(self.shape)


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Name -> place of every tensor in one .safetensors file; only the header is read.

    CheckpointError if the file is missing, cut off or not a safetensors file.
    """
    safetensors = extra("safetensors")
    try:
        check_is_file(path)
        # Opening validates the header: every byte of the file belongs to exactly one tensor, and its dtype and shape
        # need exactly these bytes.
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} lacks {path.name}: the folder is incomplete, fetch it again") from None
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error}): fetch it again") from None
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(path, 8 + length + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"]))
        for name, entry in header.items()
    }


def stored_model(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of `model.safetensors`, or of the files that `model.safetensors.index.json` names."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists() or not index.exists():
        _check_there_are_weights(folder)
        return stored_tensors(folder / "model.safetensors")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(file, str) and Path(file).name == file for file in weight_map.values()
    ):
        raise CheckpointError(f"{index} has no weight_map from tensors to files beside it: fetch it again")
    tensors: dict[str, StoredTensor] = {}
    for file in sorted(set(weight_map.values())):
        tensors |= stored_tensors(folder / file)
    if odd := sorted(set(tensors) ^ set(weight_map)):
        raise CheckpointError(f"{index} and its files disagree about {odd[0]}: fetch the folder again")
    return tensors


def _check_there_are_weights(folder: Path) -> None:
    """CheckpointError, with the cure, if there is no model.safetensors but what people take for one."""
    there = sorted(path.name for path in folder.iterdir())
    if "model.safetensors" in there:
        return
    if pickles := [name for name in there if name.endswith(PICKLES)]:
        raise CheckpointError(
            f"{folder} holds {pickles[0]}{f' and {len(pickles) - 1} more' if pickles[1:] else ''}, a pickle, which "
            "minilora never opens: load it with transformers and save_pretrained() it to a new folder, which writes "
            "model.safetensors"
        )
    if "adapter_model.safetensors" in there:
        raise CheckpointError(f"{folder} holds a PEFT adapter and no model: give its base and load the adapter onto it")
    if others := [name for name in there if name.endswith(".safetensors")]:
        raise CheckpointError(
            f"{folder} holds {others[0]} and no model.safetensors: rename it if it is the whole model; otherwise "
            "fetch the other parts, and model.safetensors.index.json"
        )


@contextmanager
def whole_folder(folder: Path, files: Collection[str]) -> Iterator[Path]:
    """A temporary folder to write `files` into, which becomes `folder` when the block ends without an error.

    A process killed at any point leaves the old folder or the new one, perhaps under a name that ends with `.tmp`. An
    existing folder is replaced if it is empty or holds only such files; FileExistsError, before anything is written, if
    it holds others.
    """
    folder = folder.resolve()
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file: name a new folder")
    if folder.exists() and (others := sorted(set(os.listdir(folder)) - set(files))):
        raise FileExistsError(f"{folder} holds {others[0]}, which would be lost: name a new folder")
    new, old = (folder.with_name(f"{folder.name}.{which}.{os.getpid()}.tmp") for which in ("new", "old"))
    new.mkdir(parents=True)
    try:
        yield new
        for path in new.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        shutil.rmtree(new)
        raise
    shutil.rmtree(old, ignore_errors=True)
