"""What every quantized weight offers: its shape, its bytes, and any of its rows as floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minilora.machine.backend import Array


class QuantizedWeight:
    """A matrix (d, k) in few bits.  It cannot be written to: there is no array of floats to write into."""

    kind: str  # how it is stored, in the words of files and messages: "NF4", "Q4_1", ...
    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes in memory, scales included."""
        raise NotImplementedError

    def rows(self, which: Any = slice(None)) -> Array:
        """Rows of the matrix, a fresh float32 array.  `which` is a slice, or row numbers (...) -> (..., k)."""
        raise NotImplementedError

    def move(self, move: Callable[[Array], Array]) -> None:
        """Move the arrays to another device."""
        raise NotImplementedError
