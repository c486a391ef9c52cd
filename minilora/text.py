"""Real text without a download, bytes as tokens, and batches of them.

Every CPython comes with real English and real code: `pydoc_data.topics`, the language reference as text, and the
standard library's sources. A user's own UTF-8 file is the third corpus.
"""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from minilora.nn import check_type, whole_number


class ByteTokenizer:
    """UTF-8 bytes as tokens: 256 of them, nothing to learn, and any text can be written."""

    vocab_size = 256
    unit = "byte"  # what to call a token in print
    end_of_text: int | None = None  # no token separates two documents

    def encode(self, text: str) -> np.ndarray:
        """Text -> tokens (T,) uint8."""
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)

    def decode(self, tokens: np.ndarray) -> str:
        """Tokens (T,) -> text; bytes that are not UTF-8 (a character cut in half) become U+FFFD."""
        return np.asarray(tokens, dtype=np.uint8).tobytes().decode("utf-8", errors="replace")


def python_docs() -> str:
    """The general-domain corpus: Python's language reference, about 460 kB of English, its topics sorted by name.

    RuntimeError if this interpreter was built without it.
    """
    try:
        topics = import_module("pydoc_data.topics").topics
    except ImportError:
        raise RuntimeError(
            "this Python lacks pydoc_data.topics, the language reference that CPython installs: "
            "use a python.org, conda or system CPython, or pass a UTF-8 file of your own (--data FILE)"
        ) from None
    return "\n\n".join(topics[name] for name in sorted(topics))


def python_source(max_bytes: int = 1_000_000) -> str:
    """The downstream corpus: the standard library's modules sorted by name, as many whole files as fit `max_bytes`.

    RuntimeError if this interpreter was installed without its sources.
    """
    texts: list[str] = []
    size = 0
    for path in _library_sources():
        text = path.read_text(encoding="utf-8", errors="replace")
        size += len(text.encode("utf-8"))
        if size > max_bytes:
            break
        texts.append(text)
    if not texts:
        raise RuntimeError(
            f"this Python has no standard-library sources in {sysconfig.get_path('stdlib')}: "
            "use a CPython that ships them, or pass a UTF-8 file of your own (--data FILE)"
        )
    return "\n\n".join(texts)


def _library_sources() -> list[Path | zipfile.Path]:
    """The standard library's modules sorted by name: in its folder or, as in a browser, in the zip that Python runs
    from."""
    folder = Path(sysconfig.get_path("stdlib"))
    if found := sorted(folder.glob("*.py")):
        return [*found]
    zipped = [Path(place) for place in sys.path if zipfile.is_zipfile(place)]
    libraries = [root for root in map(zipfile.Path, zipped) if (root / "os.py").exists()]
    modules = [path for root in libraries[:1] for path in root.iterdir() if path.name.endswith(".py")]
    return sorted(modules, key=lambda path: path.name)


def read_text(path: str | Path) -> str:
    """A user's own UTF-8 text file.  ValueError if it is empty or not text; OSError if it cannot be read."""
    check_type("the path", path, (str, Path), "give a file's name as a str or Path")
    data = Path(path).read_bytes()
    if not data.strip():
        raise ValueError(f"{path} is empty: give a UTF-8 text file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8 first") from None
    if "\0" in text:
        raise ValueError(f"{path} contains zero bytes, so it is binary and not text: give a UTF-8 text file")
    return text


def split(tokens: np.ndarray, held_out: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """(training, validation): the last `held_out` part of the text is for validation, so the two do not overlap."""
    check_type("tokens", tokens, np.ndarray, "give a 1-D array, as tokenizer.encode(text) returns it")
    if not isinstance(held_out, Real) or not 0 <= held_out <= 1:
        raise ValueError(f"held_out is {held_out!r}: give the share for validation, from 0 to 1")
    cut = len(tokens) - int(len(tokens) * held_out)
    return tokens[:cut], tokens[cut:]


class Batch(NamedTuple):
    """tokens, targets (B, T) int, and each target's weight in the loss (B, T), or None if all count the same."""

    tokens: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None


class Data(Protocol):
    """What `fit` and `evaluate` need from a data set."""

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """Random rows, to train on."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All rows once and in order, to evaluate."""


class TextData:
    """Windows of `block_size` tokens from one long text; the target of each token is the next one."""

    def __init__(self, tokens: np.ndarray, block_size: int) -> None:
        tokens = np.asarray(tokens)
        if tokens.ndim != 1 or len(tokens) < 2:
            raise ValueError(f"tokens of shape {tokens.shape} have no next token: give at least 2, of shape (T,)")
        if tokens.dtype.kind not in "iu":
            raise ValueError(f"tokens must be whole numbers, not {tokens.dtype}: encode the text first")
        self.tokens = tokens
        self.block_size = min(whole_number("block_size", block_size, 1), len(tokens) - 1)

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` windows at random places."""
        starts = rng.integers(0, len(self.tokens) - self.block_size, size=batch_size)
        windows = self.tokens[starts[:, None] + np.arange(self.block_size + 1)].astype(np.int64)
        return Batch(windows[:, :-1], windows[:, 1:], None)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """The whole text in order; the last window is padded with targets of weight 0."""
        T, n = self.block_size, len(self.tokens) - 1  # n targets
        windows = -(-n // T)
        padded = np.zeros(windows * T + 1, dtype=np.int64)
        padded[: n + 1] = self.tokens
        tokens, targets = padded[:-1].reshape(windows, T), padded[1:].reshape(windows, T)
        weights = (np.arange(windows * T) < n).astype(np.float32).reshape(windows, T)
        for i in range(0, windows, batch_size):
            yield Batch(tokens[i : i + batch_size], targets[i : i + batch_size], weights[i : i + batch_size])


class RowData:
    """Whole rows of tokens, each with the weights of its tokens in the loss: prompts with answers, conversations.

    A batch is padded to its longest row, with targets of weight 0.  ValueError if there are no rows.
    """

    def __init__(self, rows: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> None:
        if not rows:
            raise ValueError("there are no examples: give at least one")
        self.rows, self.weights = rows, weights

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Sequence[int] | np.ndarray) -> Batch:
        """The rows of these numbers.  The first token of each is no target."""
        longest = max(len(self.rows[i]) for i in chosen)
        padded = np.zeros((len(chosen), longest), dtype=np.int64)
        weights = np.zeros((len(chosen), longest), dtype=np.float32)
        for row, i in enumerate(chosen):
            padded[row, : len(self.rows[i])] = self.rows[i]
            weights[row, : len(self.rows[i])] = self.weights[i]
        return Batch(padded[:, :-1], padded[:, 1:], weights[:, 1:])

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` rows at random, with replacement."""
        return self.batch(rng.integers(len(self.rows), size=batch_size))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, the shortest first, so that little is padding."""
        order = sorted(range(len(self.rows)), key=lambda i: len(self.rows[i]))
        for i in range(0, len(order), batch_size):
            yield self.batch(order[i : i + batch_size])


def source_windows(block_size: int = 64) -> tuple[TextData, TextData]:
    """The lessons' task, Python source in windows: nine tenths to train on, the first 4 KiB of the rest to test on."""
    train, held_out = split(ByteTokenizer().encode(python_source()))
    return TextData(train, block_size), TextData(held_out[: 4096 + 1], block_size)
