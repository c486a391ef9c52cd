"""A case: one adapted layer, a batch for it, a loss gradient at its output, and how all this is passed on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray
Implementation = Callable[..., Any]  # one of the functions that `check_lora` is given
Law = Callable[["LoraCase"], None]
LAYOUTS = ("C", "F", "strided")  # in memory: rows together, columns together, every other entry of a larger array


@dataclasses.dataclass(frozen=True, eq=False)
class LoraCase:
    """Shapes: x (n, k), W0 (d, k), A (r, k), B (d, r), dy (n, d); a bias b (d,) if the layer has one, and DoRA's
    magnitudes m (d,).

    layout     how the functions find the arrays in memory, one of LAYOUTS
    sequences  the functions get the n rows of x and dy as sequences: (2, n / 2, k), or (1, n, k) if n is odd
    """

    x: Array
    W0: Array
    A: Array
    B: Array
    dy: Array
    alpha: float
    b: Array | None = None
    m: Array | None = None
    layout: str = "C"
    sequences: bool = False

    @property
    def r(self) -> int:
        """The rank: A has r rows, B has r columns."""
        return self.A.shape[0]

    @property
    def scaling(self) -> float:
        """s = alpha / r (section 4.1)."""
        return self.alpha / self.r

    @property
    def dtype(self) -> np.dtype:
        """The precision of the layer."""
        return self.W0.dtype

    @property
    def adapter(self) -> dict[str, Any]:
        """The arguments A, B and scaling, in this order."""
        return {"A": self.A, "B": self.B, "scaling": self.scaling}

    @property
    def layer(self) -> dict[str, Any]:
        """The arguments W0, A, B and scaling, in this order."""
        return {"W0": self.W0, **self.adapter}

    @property
    def bias(self) -> dict[str, Any]:
        """The argument b, if the layer has a bias."""
        return {} if self.b is None else {"b": self.b}

    @property
    def arrays(self) -> dict[str, Array]:
        """All arrays by name."""
        own = {} if self.m is None else {"m": self.m}
        return {"x": self.x, "W0": self.W0, "A": self.A, "B": self.B, "dy": self.dy, **self.bias, **own}

    @property
    def rows(self) -> tuple[int, ...]:
        """The leading axes of x and dy as the functions get them."""
        n = len(self.x)
        return (n,) if not self.sequences else (2, n // 2) if n % 2 == 0 else (1, n)

    @property
    def unbiased(self) -> LoraCase:
        """The same layer without a bias: x W0^T + b = [x, 1] [W0, b]^T, and A has a column of zeros more."""
        if self.b is None:
            return self
        one, zero = np.ones((len(self.x), 1), self.x.dtype), np.zeros((self.r, 1), self.A.dtype)
        x, W0, A = np.hstack([self.x, one]), np.hstack([self.W0, self.b[:, None]]), np.hstack([self.A, zero])
        return self.replace(x=x, W0=W0, A=A, b=None)

    def replace(self, **fields: Any) -> LoraCase:
        """The same case with other values for these fields."""
        return dataclasses.replace(self, **fields)

    def astype(self, dtype: DTypeLike) -> LoraCase:
        """The same numbers in another precision."""
        return self.replace(**{name: array.astype(dtype) for name, array in self.arrays.items()})

    @property
    def is_readable(self) -> bool:
        """Whether there are so few numbers that a message shows them."""
        return sum(array.size for array in self.arrays.values()) <= 64

    def __str__(self) -> str:
        (n, k), d = self.x.shape, self.W0.shape[0]
        lines = [f"n={n}, d={d}, k={k}, r={self.r}, alpha={self.alpha}, scaling={self.scaling}, {self.dtype}"]
        if self.layout != "C":
            lines[0] += ", in Fortran order" if self.layout == "F" else ", in strided arrays"
        if self.sequences:
            lines[0] += f", x of shape {(*self.rows, k)}"
        if self.is_readable:
            lines += [f"  {name:<2} = {array.tolist()}" for name, array in self.arrays.items()]
        return "\n  ".join(lines)
