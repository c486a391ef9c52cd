"""Ways to damage a minilora file, from a flipped bit to a header written by an attacker.

Each way is a function from a generator and two honest files, as bytes, to the bytes of a damaged one. The fuzz
test picks from `WAYS` at random; `crafted` yields what chance would not find.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Members = list[tuple[str, bytes]]

# ----------------------------------------------------------------------------------------- bytes, blindly


def flip_bits(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    damaged = bytearray(file)
    for _ in range(rng.integers(1, 9)):
        damaged[rng.integers(len(file))] ^= 1 << rng.integers(8)
    return bytes(damaged)


def truncate(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    return file[: rng.integers(len(file))]


def insert(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    at = rng.integers(len(file) + 1)
    return file[:at] + rng.bytes(rng.integers(1, 200)) + file[at:]


def remove(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    at = rng.integers(len(file))
    return file[:at] + file[at + rng.integers(1, 200) :]


def overwrite(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    at, n = rng.integers(len(file)), rng.integers(1, 200)
    filling = (bytes(n), b"\xff" * n, rng.bytes(n))[rng.integers(3)]
    return (file[:at] + filling + file[at + n :])[: len(file)]


def splice(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    """The beginning of one file and the end of another, cut at the same place or not."""
    at = rng.integers(min(len(file), len(other)))
    return file[:at] + other[at if rng.integers(2) else rng.integers(len(other)) :]


def flip_directory_bits(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    """In the zip's directory and end record, which hold sizes and offsets."""
    start = file.index(b"PK\x01\x02")
    return file[:start] + flip_bits(rng, file[start:], other)


# ------------------------------------------------------------------------------- zips that are well-formed

Tensors = dict[str, Any]  # name -> an array, or the bytes of a .npy file


def forge(file: bytes, change: Callable[[dict[str, Any], Tensors], object]) -> bytes:
    """The file after change(header, tensors), with checksums and hash made right, as its writer would make them."""
    header, tensors = header_of(file), {name.removesuffix(".npy"): data for name, data in members_of(file)[1:]}
    change(header, tensors)
    header.pop("sha256", None)
    members = [(name + ".npy", value if isinstance(value, bytes) else npy(value)) for name, value in tensors.items()]
    digest = hashlib.sha256(json.dumps(header).encode())
    for _, data in members:
        digest.update(data[10 + int.from_bytes(data[8:10], "little") :])
    header["sha256"] = digest.hexdigest()
    return zipped([("header.npy", npy(json.dumps(header).encode())), *members])


def header_of(file: bytes) -> dict[str, Any]:
    data = dict(members_of(file))["header.npy"]
    return json.loads(data[10 + int.from_bytes(data[8:10], "little") :])


def npy(array: np.ndarray | bytes) -> bytes:
    """An array, or bytes as one, as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(array, dtype=np.uint8) if isinstance(array, bytes) else array)
    return buffer.getvalue()


def members_of(file: bytes) -> Members:
    return list(_members(file))


@functools.cache
def _members(file: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return tuple((info.filename, archive.read(info)) for info in archive.infolist())


def zipped(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def swap_members(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    """Two tensors of the same shape are swapped, with their checksums."""
    members = members_of(file)
    i = rng.integers(1, len(members))
    same = [j for j in range(1, len(members)) if j != i and len(members[j][1]) == len(members[i][1])]
    j = rng.choice(same) if same else 0
    members[i], members[j] = (members[i][0], members[j][1]), (members[j][0], members[i][1])
    return zipped(members)


def foreign_member(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    """A tensor of the same name from another file."""
    members, foreign = members_of(file), dict(members_of(other))
    i = rng.integers(1, len(members))
    name = members[i][0]
    members[i] = (name, foreign.get(name, next(iter(foreign.values()))))
    return zipped(members)


def flip_inside_member(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    """Flipped bits with a correct checksum, which a CRC-32 cannot find."""
    members = members_of(file)
    i = rng.integers(len(members))
    members[i] = (members[i][0], flip_bits(rng, members[i][1], other))
    return zipped(members)


def lose_or_double_member(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    members = members_of(file)
    i = rng.integers(len(members))
    changed = (members[:i] + members[i + 1 :], [*members, members[i]], [*members, ("odd.npy", members[i][1])])
    return zipped(changed[rng.integers(3)])


def nasty_npy_header(rng: np.random.Generator, file: bytes, other: bytes) -> bytes:
    members = members_of(file)
    i = rng.integers(len(members))
    headers = list(npy_headers())
    name, data = members[i]
    body = data[10 + int.from_bytes(data[8:10], "little") :]
    members[i] = (name, headers[rng.integers(len(headers))] + body)
    return zipped(members)


def npy_headers() -> Iterator[bytes]:
    """Headers that lie, overflow or would run code if they were evaluated or unpickled."""

    def npy(text: str, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
        encoded = text.encode()
        return b"\x93NUMPY" + version + struct.pack("<H", len(encoded) if length is None else length) + encoded

    def usual(descr: str = "'<f4'", fortran: str = "False", shape: str = "(4, 4)") -> str:
        return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"

    for shape in ("(-1,)", "(0,)", "(4,)", "()", "(10000000000, 10000000000)", "(9" + "9" * 5000 + ",)", "(1e9,)", "4"):
        yield npy(usual(shape=shape))
    for descr in ("'|O'", "'<U8'", "'|V8'", "'>f4'", "'<c8'", "'<M8[s]'", "[('a', '<f4')]", "'<f4' * 99", "object"):
        yield npy(usual(descr))
    yield npy(usual(fortran="True"))
    yield npy(usual(fortran="__import__('os').mkdir('pwned')"))
    yield npy("(" * 4000 + ")" * 4000 + "\n")
    yield npy("-" * 9000 + "1\n")
    yield npy(usual(), version=b"\x02\x00")
    yield npy(usual(), length=65535)
    yield npy(usual(), length=0)
    yield npy(usual("'|O'", shape="()")) + pickle.dumps(_Evil())


class _Evil:
    """What loading this pickle would do."""

    def __reduce__(self) -> Any:
        return __import__("os").mkdir, ("pwned",)


WAYS: list[Callable[[np.random.Generator, bytes, bytes], bytes]] = [
    *(flip_bits, truncate, insert, remove, overwrite, splice, flip_directory_bits, swap_members),
    *(foreign_member, flip_inside_member, lose_or_double_member, nasty_npy_header),
]

# ------------------------------------------------------------------------------------------ what an attacker writes


def crafted(file: bytes) -> Iterator[tuple[str, bytes]]:
    """(what it is, bytes): zip bombs and overlaps, and files whose hash is right and whose content is impossible."""
    yield from crafted_zips(file)
    first = next(iter(header_of(file)["tensors"]))
    for i, start in enumerate(npy_headers()):
        yield f"tensor of odd header {i}", forge(file, lambda h, t, start=start: t.update({first: start + bytes(24)}))

    def claim_a_huge_tensor(header: dict[str, Any], tensors: Tensors) -> None:
        tensors[first] = npy(np.zeros(6, "float32")).replace(b"(6,), }" + 10 * b" ", b"(30000, 20000), }")
        header["tensors"][first] = [[30_000, 20_000], "float32"]

    yield "a shape that the bytes do not fill", forge(file, claim_a_huge_tensor)
    for key, value in impossible_values(header_of(file)):
        yield f"header {'.'.join(key)} = {str(value)[:40]}", forge(file, lambda h, t, k=key, v=value: place(h, k, v))
    for key in places(header_of(file)):
        yield f"header without {'.'.join(key)}", forge(file, lambda h, t, key=key: lose(h, key))


def crafted_zips(file: bytes) -> Iterator[tuple[str, bytes]]:
    members, size = members_of(file), len(file)
    for lost in range(1, 31):
        yield f"cut by {lost} bytes", file[:-lost]
    yield "nothing", b""
    yield "an empty zip", zipped([])
    yield "a zip bomb", zipped([*members, ("bomb.npy", bytes(5_000_000))], zipfile.ZIP_DEFLATED)
    yield "its members compressed", zipped(members, zipfile.ZIP_DEFLATED)
    yield "a directory bomb", directory_bomb(size)
    for what, element in (("lists", b"[]"), ("dictionaries", b'{"a":1}'), ("strings", b'"ab"'), ("numbers", b"0.1")):
        bomb = b"[" + (element + b",") * (size // len(element)) + b"1]"
        yield f"a header bomb of {what}", zipped([("header.npy", npy(bomb))])
    yield "a deep header", zipped([("header.npy", npy(b"[" * (size // 8)))])
    yield "one member in two places", overlapping(file)
    yield "a comment after its end", file[:-2] + struct.pack("<H", 1000) + bytes(1000)
    yield "encrypted", file.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    unpacked = file.rindex(b"PK\x01\x02") + 24  # the unpacked size in the directory's last entry
    yield "a member larger than the file", file[:unpacked] + (2**31).to_bytes(4, "little") + file[unpacked + 4 :]


def directory_bomb(size: int) -> bytes:
    """As many directory entries as fit, each some hundred bytes of Python objects."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 6, 0, 0, 0, 1, *[0] * 4, 0, 0) + b"x"
    n = min(size // len(entry), 65535)
    return entry * n + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, n * len(entry), 0, 0)


def overlapping(file: bytes) -> bytes:
    """The directory's last entry points to where its first does."""
    first = file.index(b"PK\x01\x02")
    last = file.rindex(b"PK\x01\x02")
    offset, damaged = file[first + 42 : first + 46], bytearray(file)
    damaged[last + 42 : last + 46] = offset
    damaged[last + 16 : last + 28] = file[first + 16 : first + 28]  # its checksum and sizes too
    return bytes(damaged)


def places(header: dict[str, Any]) -> list[tuple[str, ...]]:
    """The key path of every entry of the header, though not of every tensor."""
    groups = [group for group in ("config", "lora") if header.get(group)]
    return (
        [(key,) for key in header if key != "sha256"]
        + [(group, key) for group in groups for key in header[group]]
        + [("tensors", name) for name in list(header["tensors"])[:2]]
    )


def impossible_values(header: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key path, value) for every entry of the header, and some values with a particular aim."""
    odd = [None, True, -1, 0, 3.5, 10**9, 10**400, float("nan"), float("inf"), "x", "x" * 5000, [], {}, [[]], {"x": 1}]
    odd += ["1", "(", [1], {"(": 1}, "object"]
    for key in (*places(header), ("lora", "odd"), ("config", "odd")):
        if len(key) == 1 or isinstance(header.get(key[0]), dict):
            yield from ((key, value) for value in odd)
    if header["lora"]:
        catastrophe = "((((.*)*)*)*)*x"  # a regular expression that tries every split of a path
        yield ("lora", "target_modules"), catastrophe
        yield ("lora", "target_modules"), [catastrophe]
        yield ("lora", "target_modules"), ["q_proj", 5]
        yield ("lora", "rank_pattern"), {catastrophe: 1}
        yield ("lora", "rank_pattern"), {"blocks.0.attn.q_proj": 10**9}
        yield ("lora", "rank_pattern"), {"(" * 5000: 1}
        yield ("lora", "alpha_pattern"), {catastrophe: 1}
    yield ("config", "dtype"), "float64"
    yield ("config", "dtype"), "float16"


def place(header: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    (header[key[0]] if len(key) == 2 else header)[key[-1]] = value


def lose(header: dict[str, Any], key: tuple[str, ...]) -> None:
    del (header[key[0]] if len(key) == 2 else header)[key[-1]]
