"""The three kinds of file, small, and a reader for each that notices changes, large allocations and hangs."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import minilora as ml
from minilora.files.training import load_training, save_training
from tests.models import bits, scramble

SMALL = ml.GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2)
LORA = ml.LoraConfig(r=1, bias="lora_only")
ROOM = 16384  # bytes: smaller files count as this large, because Python's own objects do not shrink with them
SECONDS = 20  # no file takes a hundredth of it; a loader that hangs takes more
KINDS = ("model", "adapter", "training")


def small(seed: int = 0, lora: ml.LoraConfig | None = None) -> ml.GPT:
    """A model of a few bytes; its LoRA, if asked for, is trained, and its base is that of the same seed."""
    model = scramble(ml.GPT(SMALL), seed)
    if lora is not None:
        ml.add_lora(model, lora)
        for _, layer in ml.lora_layers(model):
            layer.lora_B.data += 0.5
    return model


def write(kind: str, path: Path, change: float = 0.0) -> Path:
    """Write a file of this kind; `change` is added to what trains."""
    model = small(lora=LORA)
    for parameter in model.named_parameters().values():
        parameter.data += parameter.data.dtype.type(change) if parameter.trainable else 0
    if kind == "model":
        ml.save_model(model, path)
    elif kind == "adapter":
        ml.save_adapter(model, path)
    else:
        optimizer = ml.Adam(model)
        optimizer.step({"blocks.0.attn.q_proj.lora_B": np.ones((2, 1), "float32")})
        save_training(path, model, optimizer, {"step": 1}, best={})
    return path


def file_of(kind: str, folder: Path, change: float = 0.0) -> bytes:
    return write(kind, folder / "honest", change).read_bytes()


class Reader:
    """Loads files of one kind from `path`, and fails if one takes more than ten times its size, or hangs."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path = kind, path
        self.reset()

    def reset(self) -> None:
        self.model = small(lora=LORA if self.kind == "training" else None)
        self.optimizer = ml.Adam(self.model)
        self.before = self.state()

    def state(self) -> dict[str, bytes]:
        return bits(self.model) | {name: array.tobytes() for name, array in self.optimizer.state_dict().items()}

    def read(self, file: bytes) -> dict[str, bytes] | None:
        """The bits that a file gives. None if it is refused, which must be as documented and change nothing."""
        self.path.write_bytes(file)
        found, peak = self._read()
        if peak > 10 * max(len(file), ROOM):
            # What Python loads once for itself, such as a codec, is not the file's fault: it does not recur.
            found, peak = self._read()
        assert peak <= 10 * max(len(file), ROOM), f"{peak:,} bytes for a file of {len(file):,}"
        return found

    def _read(self) -> tuple[dict[str, bytes] | None, int]:
        found = None
        tracemalloc.start()
        try:
            with no_hang():
                found = self._load()
        except ml.CheckpointError as error:
            assert str(self.path) in str(error) and str(error).isprintable() and len(str(error)) <= 600
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        if found is None:
            assert self.state() == self.before, "it was refused, and has changed something"
        else:
            self.reset()
        return found, peak

    def _load(self) -> dict[str, bytes]:
        if self.kind == "model":
            return bits(ml.load_model(self.path))
        if self.kind == "adapter":
            return bits(ml.load_adapter(self.model, self.path))
        load_training(self.path, self.model, self.optimizer)
        return self.state()

    def assert_refuses(self, file: bytes, message: str) -> None:
        self.path.write_bytes(file)
        with pytest.raises(ml.CheckpointError, match=message):
            self._load()
        assert self.state() == self.before


@contextmanager
def no_hang() -> Iterator[None]:
    """An error after SECONDS, if the system has a timer for it."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
