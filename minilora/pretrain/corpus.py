"""The shipped base's training text: documentation, docstrings, and made-up records that teach it to copy."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minilora.pretrain.records import Document, Generator, copied, documents
from minilora.text import Batch, ByteTokenizer, Data, TextData, python_docs, split

BLOCK_SIZE = 320  # bytes per window
RECORD_BYTES = 3_000_000
READ_WEIGHT = 0.25  # of a record's bytes that are not copies, much of them random by design; copied bytes weigh 1


class RecordData:
    """Windows that begin at the start of a document; bytes that repeat a value weigh 1, the others `read_weight`.

    `sample` and `batches` work as in `TextData`.
    """

    def __init__(self, found: list[Document], block_size: int, read_weight: float) -> None:
        texts = [ByteTokenizer().encode(document.text + "\n\n") for document in found]
        ends = np.cumsum([len(text) for text in texts])
        self.tokens = np.concatenate(texts)
        self.weights = np.full(len(self.tokens), read_weight, np.float32)
        starts = [0, *ends[:-1].tolist()]
        for start, document in zip(starts, found, strict=True):
            mask = copied(document)
            part = self.weights[start : start + len(mask)]
            np.copyto(part, 1, where=mask > 0)
        self.block_size = block_size
        self.starts = np.array([start for start in starts if start + block_size < len(self.tokens)])

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` windows, each from the start of a random document."""
        return self._windows(rng.choice(self.starts, batch_size))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All documents in order, except those that a window's end cuts in two: the next window begins after them."""
        starts, end = [], 0
        for start in self.starts:
            if start >= end:
                starts.append(start)
                end = start + self.block_size
        for i in range(0, len(starts), batch_size):
            yield self._windows(np.array(starts[i : i + batch_size]))

    def _windows(self, starts: np.ndarray) -> Batch:
        index = starts[:, None] + np.arange(self.block_size + 1)
        tokens = self.tokens[index].astype(np.int64)
        return Batch(tokens[:, :-1], tokens[:, 1:], self.weights[index[:, 1:]])


class Mixture:
    """Batches whose rows come from several data sets, in random numbers according to their shares."""

    def __init__(self, parts: Sequence[Data], shares: list[float]) -> None:
        self.parts, self.shares = parts, shares

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` rows; in a data set without weights every target weighs 1."""
        counts = rng.multinomial(batch_size, self.shares)
        drawn = [part.sample(rng, n) for part, n in zip(self.parts, counts, strict=True) if n]
        weights = [np.ones(b.tokens.shape, np.float32) if b.weights is None else b.weights for b in drawn]
        tokens, targets = (np.concatenate(arrays) for arrays in zip(*(b[:2] for b in drawn), strict=True))
        return Batch(tokens, targets, np.concatenate(weights))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """The parts one after the other."""
        for part in self.parts:
            yield from part.batches(batch_size)


@dataclass(frozen=True)
class Corpus:
    """The parts of the general-domain corpus by name: to train on, and held out."""

    train: dict[str, TextData | RecordData]
    valid: dict[str, TextData | RecordData]


def corpus(seed: int) -> Corpus:
    """Documentation and docstrings, with the last tenth of each held out, and records from two seeds."""
    T, encode = BLOCK_SIZE, ByteTokenizer().encode
    docs, held_out = split(encode(python_docs()))
    words = sorted(set(re.findall(r"\b[a-z]{3,9}\b", ByteTokenizer().decode(docs))))
    strings = split(encode("\n\n".join(python_docstrings())))
    records = documents(Generator(seed, words).document, RECORD_BYTES)
    echoes = documents(Generator(seed, words).echoed, RECORD_BYTES // 4)
    unseen = documents(Generator(seed + 1, words).document, RECORD_BYTES // 50)
    return Corpus(
        train={
            "documentation": TextData(docs, T),
            "docstrings": TextData(strings[0], T),
            "records": RecordData(records, T, READ_WEIGHT),
            "echoes": RecordData(echoes, T, READ_WEIGHT),
        },
        valid={
            "documentation": TextData(held_out, T),
            "docstrings": TextData(strings[1], T),
            "records": RecordData(unseen, T, 1.0),
            "copied bytes of the records": RecordData(unseen, T, 0.0),
        },
    )


# Packages whose docstrings are left out: tests, grammars, data, and whatever pip installed.
NOT_PROSE = {"__phello__", "__pycache__", "ensurepip", "lib2to3", "pydoc_data", "site-packages", "test", "turtledemo"}


def python_docstrings(min_length: int = 60) -> list[str]:
    """More general English: docstrings of the standard library's packages (asyncio, email, ...), by file name.

    Only packages, not the modules next to them: those are `python_source()`, the downstream text, which stays unseen.
    RuntimeError if this interpreter was installed without its sources.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    found: dict[str, None] = {}  # an ordered set: several files may have the same docstring
    for path in sorted(folder.glob("*/**/*.py")):
        parts = path.relative_to(folder).parts
        if parts[0] in NOT_PROSE or any("test" in part for part in parts):
            continue
        with warnings.catch_warnings():  # invalid escape sequences in their strings
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text and len(text) >= min_length:
                    found[text] = None
    if not found:
        raise RuntimeError(f"this Python has no standard-library packages in {folder}: use a CPython that ships them")
    return list(found)
