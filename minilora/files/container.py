"""Named arrays and a JSON header in one .npz file that can be trusted.

A file is an ordinary .npz (a zip of .npy arrays, stored, not compressed) whose member `header` holds JSON: the
format's name and version, the kind of file, what the kind adds, the shape and dtype of every tensor, and a SHA-256
over all of that and every byte of the tensors.

Loading never runs code and never takes more memory than ten times the file's size, whatever the file claims (a file
under 16 KiB counts as 16 KiB). A file is written under a temporary name and then renamed: a process killed at any point
leaves the old file or the new one (and perhaps a `*.tmp` beside it, which nothing reads).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

FORMAT = "minilora"
VERSION = 1
LFS_POINTER = b"version https://git-lfs"  # how git-lfs begins the small text that stands for a large file


class CheckpointError(ValueError):
    """A file that cannot be loaded; the message says what was found, what was expected and what to do.

    It may quote the file, which can hold anything, so it is cut short and stripped of what could move a cursor.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in message[:600]))


def write_file(
    path: str | Path,
    kind: str,
    header: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    read: Callable[[Path], Any] | None = None,
) -> None:
    """Write tensors and a JSON header of this `kind` as one .npz; the same content gives the same bytes.

    `read` reads the file back, by default as any file of this kind, before it takes the name `path`: CheckpointError if
    it refuses, and whatever was at `path` stays.
    """
    described = {name: [list(a.shape), a.dtype.name] for name, a in tensors.items()}
    full = {"format": FORMAT, "version": VERSION, "kind": kind, **header, "tensors": described}
    full["sha256"] = _digest(full, tensors)
    encoded = np.frombuffer(to_json(full).encode(), dtype=np.uint8)
    path = as_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    # Not tempfile: only the owner may read its files, and this one is renamed to the final name.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, array in {"header": encoded, **tensors}.items():
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
                    # A ZipInfo of our own has a fixed date; `writestr(name)` would record the time.
                    archive.writestr(zipfile.ZipInfo(name + ".npy"), buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        _read_back(temporary, path, read or (lambda written: read_file(written, kind)))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _read_back(temporary: Path, path: Path, read: Callable[[Path], Any]) -> None:
    """CheckpointError, naming the final path, if `read` refuses the file that was just written."""
    try:
        read(temporary)
    except CheckpointError as error:
        reason = str(error).replace(str(temporary), "it")
        raise CheckpointError(f"{path} was not written, because it could not be read back: {reason}") from None


def as_path(path: str | Path) -> Path:
    """ValueError unless this can be the name of a file."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fspath(path):
        raise ValueError(f"{path!r:.80} is no path: give a file's name as a str or Path")
    return Path(path)


def check_is_file(path: Path) -> None:
    """CheckpointError if the path is a folder, or holds the pointer that git-lfs left in place of the file."""
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder, where a file was expected: Hugging Face's folders are read by minilora.hf's "
            "load_pretrained and load_peft_adapter, and by --base and `minilora import peft`"
        )
    with open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"{path} is a pointer of git-lfs, not the file itself: run `git lfs pull` in its folder, or download it"
            )


def read_file(
    path: str | Path, kind: str | None = None, allow_nonfinite: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(header, tensors) of a file that `write_file` wrote; `kind` None takes any.

    CheckpointError if it is of a different kind or version, damaged, or holds NaN or infinity (unless
    `allow_nonfinite`); OSError if it cannot be opened.
    """
    path = as_path(path)
    check_is_file(path)
    with open(path, "rb") as file:
        try:
            header, tensors = _read_archive(file, path)
        except CheckpointError:
            raise
        except Exception as error:
            # zipfile raises a dozen kinds of error on damaged bytes; to the user they all mean the same.
            raise CheckpointError(
                f"{path} is damaged or no minilora file ({type(error).__name__}: {error}): make or fetch it again"
            ) from None
    if kind is not None and header["kind"] != kind:
        raise CheckpointError(f"{path} is a file of the kind {header['kind']!r}, where {kind!r} was expected")
    if not allow_nonfinite:
        for name, array in tensors.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CheckpointError(
                    f"{path}: {name} holds NaN or infinity, so its training failed: use an earlier file, "
                    "or pass allow_nonfinite=True to look at this one"
                )
    return header, tensors


@contextlib.contextmanager
def refusing(path: str | Path) -> Iterator[None]:
    """Turns the errors that an incomplete or impossible header causes into CheckpointErrors."""
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has an impossible header ({error}): make it again") from None


def content_hash(names: Iterable[str], tensor: Callable[[str], np.ndarray]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes, in order of name: equal exactly for equal tensors.

    `tensor` is asked for one at a time, so that no more than that need be in memory.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        array = np.asarray(tensor(name), order="C")
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def to_json(value: Any) -> str:
    """JSON, in which NumPy's numbers (r=np.int64(8)) are numbers."""
    return json.dumps(value, default=lambda scalar: scalar.item())


# ------------------------------------------------------------------------------------------ checks on reading


def _digest(header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the header (except this entry) and the tensors' bytes, in the header's order."""
    digest = hashlib.sha256(to_json({key: value for key, value in header.items() if key != "sha256"}).encode())
    for name in header["tensors"]:
        digest.update(np.asarray(tensors[name], order="C").data)
    return digest.hexdigest()


def _read_archive(file: IO[bytes], path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    size = os.fstat(file.fileno()).st_size
    _check_directory(file, size, path)
    with zipfile.ZipFile(file) as archive:
        listed = archive.infolist()
        members = {m.filename.removesuffix(".npy"): m for m in listed}
        # Both sizes: zipfile allocates by one and returns the other.
        stored = all(m.compress_type == zipfile.ZIP_STORED and m.compress_size == m.file_size for m in listed)
        if not stored or sum(m.file_size for m in listed) > size:
            raise CheckpointError(f"{path} claims more data than it contains: refused, make or fetch it again")
        if min((m.header_offset for m in listed), default=0) > 0:
            raise CheckpointError(f"{path} has extra bytes before its first member: make or fetch it again")
        if "header" not in members:
            raise CheckpointError(f"{path} has no minilora header: write it with save_model or save_adapter")
        text = bytes(_parse_npy(archive.read(members["header"])))
        if _json_bytes(text) > 4 * max(size, 4096):
            raise CheckpointError(f"{path} has a header that expands to far more than the file: refused")
        header = _checked_header(json.loads(text), path)
        expected = ["header", *header["tensors"]]
        if sorted(members) != sorted(expected) or len(members) != len(listed):
            odd = sorted(set(members) ^ set(expected)) or ["a name that occurs twice"]
            raise CheckpointError(f"{path}: its tensors and its header disagree about {odd[0]}: make it again")
        # zipfile checks the CRC-32 of what it reads.
        tensors = {name: _parse_npy(archive.read(members[name])) for name in header["tensors"]}
    for name, (shape, dtype) in header["tensors"].items():
        if list(tensors[name].shape) != shape or tensors[name].dtype.name != dtype:
            raise CheckpointError(
                f"{path}: {name} is {tensors[name].dtype.name} {tensors[name].shape}, its header says {dtype} {shape}"
            )
    if _digest(header, tensors) != header["sha256"]:
        raise CheckpointError(f"{path} has changed since it was written (its hash differs): make or fetch it again")
    return header, tensors


def _check_directory(file: IO[bytes], size: int, path: Path) -> None:
    """Refuse a zip with more directory entries than arrays could fit, before zipfile makes an object of each.

    An array takes at least 46 bytes in the directory, 30 before its data and 128 of .npy header: 204. Its entry in
    memory takes about 700, however small it is in the file.
    """
    entries, tail = 0, b""
    while chunk := file.read(1 << 14):
        entries += (tail + chunk).count(b"PK\x01\x02")
        tail = chunk[-3:]
    if entries > size // 204:
        raise CheckpointError(f"{path} has {entries} directory entries in {size} bytes, too many for arrays: refused")


def _json_bytes(text: bytes) -> int:
    """A lower bound on the memory of JSON as Python objects, which can be twenty times its text: 56 bytes for a list,
    184 for a dictionary, 49 for a string, 32 for a number, plus a slot for each. Ours has names, numbers, few lists."""
    return 64 * text.count(b",") + 100 * (text.count(b"[") + text.count(b"{")) + 30 * text.count(b'"')


def _checked_header(header: Any, path: Path) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path} has no minilora header: write it with save_model or save_adapter")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {header.get('version')}, this minilora reads {VERSION}: "
            "use the minilora that wrote it"
        )
    strings = isinstance(header.get("kind"), str) and isinstance(header.get("sha256"), str)
    if not strings or not isinstance(header.get("tensors"), dict):
        raise CheckpointError(f"{path} has an incomplete header: make it again")
    return header


# What NumPy writes before an array, version 1.0, for the dtypes that we write. We match it; NumPy would evaluate it.
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"\{'descr': '(?P<descr><f2|<f4|<f8|<i8|\|u1)', 'fortran_order': False, 'shape': \((?P<shape>[0-9, ]*)\), \} *\n",
    re.DOTALL,
)


def _parse_npy(data: bytes) -> np.ndarray:
    """An array from the bytes of a .npy file: never Python objects, never more memory than the bytes themselves."""
    header = _NPY_HEADER.match(data)
    if header is None or header.end() != 10 + int.from_bytes(header["length"], "little"):
        raise ValueError("not a plain version 1.0 .npy array of float16, float32, float64, int64 or uint8")
    shape = tuple(int(n) for n in header["shape"].split(b",") if n.strip())
    array = np.frombuffer(data, dtype=header["descr"].decode(), offset=header.end())
    if math.prod(shape) != array.size:
        raise ValueError(f"{array.size} numbers for an array of shape {shape}")
    return array.reshape(shape).copy()
