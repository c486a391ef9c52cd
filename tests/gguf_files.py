"""GGUF files by hand, and what their blocks mean, number by number: an implementation apart from the package's."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

NUMBER = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "BF16": 30}
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "Q4_0": 18, "Q4_1": 20, "Q8_0": 34, "Q4_K": 144, "Q6_K": 210}
SIZE = {"F32": 1, "F16": 1, "BF16": 1, "Q4_0": 32, "Q4_1": 32, "Q8_0": 32, "Q4_K": 256, "Q6_K": 256}
HALVES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}  # where float16 scales stand

Tensor = tuple[str, tuple[int, ...], bytes]  # type, shape with rows first, blocks


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(x: Any) -> bytes:
    """A setting's type and value."""
    if isinstance(x, bool):
        return struct.pack("<I?", 7, x)
    if isinstance(x, int):
        return struct.pack("<II", 4, x)
    if isinstance(x, float):
        return struct.pack("<If", 6, x)
    if isinstance(x, str):
        return struct.pack("<I", 8) + string(x)
    if all(isinstance(item, str) for item in x):
        return struct.pack("<IIQ", 9, 8, len(x)) + b"".join(map(string, x))
    return struct.pack("<IIQ", 9, 5, len(x)) + struct.pack(f"<{len(x)}i", *x)


def gguf_bytes(settings: Mapping[str, Any], tensors: Mapping[str, Tensor], version: int = 3) -> bytes:
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings))
    out += b"".join(string(name) + value(x) for name, x in settings.items())
    place = 0
    for name, (kind, shape, data) in tensors.items():
        out += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], NUMBER[kind], place)
        place += -(-len(data) // 32) * 32
    out = out.ljust(-(-len(out) // 32) * 32, b"\0")
    for _, _, data in tensors.values():
        out += data.ljust(-(-len(data) // 32) * 32, b"\0")
    return out


def random_blocks(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """Blocks of random bytes with moderate scales."""
    n = int(np.prod(shape)) // SIZE[kind]
    if kind in ("F32", "F16"):
        return rng.standard_normal(n).astype({"F32": "<f4", "F16": "<f2"}[kind]).tobytes()
    if kind == "BF16":
        return (rng.standard_normal(n).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    raw = rng.integers(0, 256, (n, BYTES[kind]), dtype=np.uint8)
    for place in HALVES[kind]:
        raw[:, place : place + 2] = rng.uniform(-1, 1, (n, 1)).astype("<f2").view(np.uint8)
    return raw.tobytes()


def meaning(kind: str, data: bytes) -> np.ndarray:
    """The numbers that blocks stand for, in float64, from llama.cpp's own description of its formats."""
    blocks = [data[i : i + BYTES[kind]] for i in range(0, len(data), BYTES[kind])]
    return np.array([w for block in blocks for w in _BLOCK[kind](block)])


def _half(block: bytes, place: int) -> float:
    return struct.unpack_from("<e", block, place)[0]


def _nibble(block: bytes, start: int, i: int, half: int) -> int:
    """Number i of those that share `half` bytes from `start`: the low nibbles come first."""
    byte = block[start + i % half]
    return byte & 15 if i < half else byte >> 4


def _q4_k(b: bytes) -> list[float]:
    d, dmin, s = _half(b, 0), _half(b, 2), b[4:16]
    w = []
    for group in range(8):
        if group < 4:
            scale, least = s[group] & 63, s[group + 4] & 63
        else:
            scale = (s[group + 4] & 15) + 16 * (s[group - 4] >> 6)
            least = (s[group + 4] >> 4) + 16 * (s[group] >> 6)
        start = 16 + 32 * (group // 2)  # two groups share 32 bytes
        w += [d * scale * _nibble(b, start, i + 32 * (group % 2), 32) - dmin * least for i in range(32)]
    return w


def _q6_k(b: bytes) -> list[float]:
    d, w = _half(b, 208), []
    for i in range(256):
        part, j = divmod(i, 128)
        low = _nibble(b, 64 * part, j, 64)
        high = b[128 + 32 * part + j % 32] >> (2 * (j // 32)) & 3
        scale = struct.unpack_from("<b", b, 192 + i // 16)[0]
        w.append(d * scale * (low + 16 * high - 32))
    return w


_BLOCK = {
    "F32": lambda b: struct.unpack("<f", b),
    "F16": lambda b: struct.unpack("<e", b),
    "BF16": lambda b: struct.unpack("<f", b"\0\0" + b),
    "Q4_0": lambda b: [_half(b, 0) * (_nibble(b, 2, i, 16) - 8) for i in range(32)],
    "Q4_1": lambda b: [_half(b, 0) * _nibble(b, 4, i, 16) + _half(b, 2) for i in range(32)],
    "Q8_0": lambda b: [_half(b, 0) * q for q in struct.unpack("<32b", b[2:])],
    "Q4_K": _q4_k,
    "Q6_K": _q6_k,
}
