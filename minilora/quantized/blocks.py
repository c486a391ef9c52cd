"""Weights as llama.cpp stores them: rows of blocks, each of 32 or 256 small integers with a scale of their own.

A block is a NumPy record, so that a file's bytes are read as they are. `f2` is float16. The formulas, with the
record's names (q an integer of 4 to 8 bits):

    Q8_0   w = d q            Q4_0   w = d (q - 8)            Q4_1   w = d q + m
    Q4_K   w = d s q - dmin m      Q6_K   w = d s (q - 32)    with a scale s (and m) for every 32 or 16 numbers

F32, F16 and BF16 are blocks of one number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minilora.machine.backend import Array
from minilora.quantized.weight import QuantizedWeight


class BlockType(NamedTuple):
    """`size` numbers a block, stored as one record of `record`; `decode` turns (n,) records into (n, size) float32."""

    size: int
    record: np.dtype
    decode: Callable[[np.ndarray], np.ndarray]


def _nibbles(q: np.ndarray) -> np.ndarray:
    """(..., n) bytes -> (..., 2n) float32: the low halves, then the high halves.  n is a multiple of 4."""
    words = q.view(np.uint32)  # four bytes at a time
    halves = np.empty((*words.shape[:-1], 2, words.shape[-1]), np.uint32)
    np.bitwise_and(words, 0x0F0F0F0F, out=halves[..., 0, :])
    np.right_shift(words, 4, out=halves[..., 1, :])
    halves[..., 1, :] &= 0x0F0F0F0F
    return halves.reshape(*words.shape[:-1], -1).view(np.uint8).astype(np.float32)


def _column(x: np.ndarray) -> np.ndarray:
    """One number per block -> (n, 1) float32."""
    return x.astype(np.float32)[:, None]


def _bf16(b: np.ndarray) -> np.ndarray:
    """bfloat16 is the upper half of a float32."""
    return (b["q"].astype(np.uint32) << 16).view(np.float32)


def _q4_0(b: np.ndarray) -> np.ndarray:
    w = _nibbles(b["q"])
    w -= 8
    w *= _column(b["d"])
    return w


def _q4_1(b: np.ndarray) -> np.ndarray:
    w = _nibbles(b["q"])
    w *= _column(b["d"])
    w += _column(b["m"])
    return w


def _q8_0(b: np.ndarray) -> np.ndarray:
    w = b["q"].astype(np.float32)
    w *= _column(b["d"])
    return w


def _q4_k(b: np.ndarray) -> np.ndarray:
    """Eight groups of 32.  Their 6-bit scales and minima share 12 bytes: the low 6 bits of bytes 0-3 and 4-7 for the
    first four groups; for the others a nibble of bytes 8-11 and the top 2 bits of bytes 0-7."""
    low, mid, high = b["s"][:, :4], b["s"][:, 4:8], b["s"][:, 8:]
    scale = np.concatenate([low & 63, (high & 15) | (low >> 6 << 4)], axis=1)
    minimum = np.concatenate([mid & 63, (high >> 4) | (mid >> 6 << 4)], axis=1)
    w = _nibbles(b["q"].reshape(-1, 4, 32)).reshape(-1, 8, 32)  # 64 numbers in each 32 bytes
    w *= (_column(b["d"]) * scale)[:, :, None]
    w -= (_column(b["dmin"]) * minimum)[:, :, None]
    return w.reshape(-1, 256)


def _q6_k(b: np.ndarray) -> np.ndarray:
    """Sixteen groups of 16.  Each 128 numbers have their low 4 bits in 64 bytes and their high 2 bits in 32."""
    low, high = b["ql"].reshape(-1, 2, 1, 64), b["qh"].reshape(-1, 2, 1, 32)
    low = (low >> np.array([[0], [4]], np.uint8) & 15).reshape(-1, 2, 4, 32)
    high = high >> np.array([[0], [2], [4], [6]], np.uint8) & 3
    w = (low | (high << 4)).reshape(-1, 16, 16).astype(np.float32)
    w -= 32
    w *= (_column(b["d"]) * b["s"])[:, :, None]
    return w.reshape(-1, 256)


def _float(b: np.ndarray) -> np.ndarray:
    return b["q"].astype(np.float32)


def _type(size: int, decode: Callable[[np.ndarray], np.ndarray], **fields: Any) -> BlockType:
    return BlockType(size, np.dtype(list(fields.items())), decode)


BLOCK_TYPES = {
    "F32": _type(1, _float, q=("<f4", (1,))),
    "F16": _type(1, _float, q=("<f2", (1,))),
    "BF16": _type(1, _bf16, q=("<u2", (1,))),
    "Q4_0": _type(32, _q4_0, d="<f2", q=("u1", (16,))),
    "Q4_1": _type(32, _q4_1, d="<f2", m="<f2", q=("u1", (16,))),
    "Q8_0": _type(32, _q8_0, d="<f2", q=("i1", (32,))),
    "Q4_K": _type(256, _q4_k, d="<f2", dmin="<f2", s=("u1", (12,)), q=("u1", (128,))),
    "Q6_K": _type(256, _q6_k, ql=("u1", (128,)), qh=("u1", (64,)), s=("i1", (16,)), d="<f2"),
}


class BlockWeight(QuantizedWeight):
    """A weight (d, k) as a file stores it: records (d, k / size), decoded when they are read."""

    def __init__(self, kind: str, records: np.ndarray) -> None:
        self.kind, self.records = kind, records
        self.type = BLOCK_TYPES[kind]
        self.shape = (records.shape[0], records.shape[1] * self.type.size)

    @property
    def nbytes(self) -> int:
        return self.records.nbytes

    @property
    def scales(self) -> list[str]:
        """The fields of a record that are floats."""
        return [name for name, (kind, *_) in self.type.record.fields.items() if kind.base.kind == "f"]  # type: ignore

    def rows(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        records = self.records[which]
        return self.type.decode(records.reshape(-1)).reshape(*records.shape[:-1], self.shape[1])

    def move(self, move: Callable[[Array], Array]) -> None:
        if not isinstance(move(np.zeros(1)), np.ndarray):
            raise ValueError(f'{self.kind} blocks are read by NumPy only: load the model unquantized, or with "nf4"')
