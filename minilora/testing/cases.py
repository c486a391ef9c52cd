"""The cases: a layer, a batch for it and a loss gradient, and how they are drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, from_dtype
from numpy.typing import DTypeLike

Array = np.ndarray


Implementation = Callable[..., Any]


Law = Callable[["LoraCase"], None]


@dataclasses.dataclass(frozen=True, eq=False)
class LoraCase:
    """One adapted layer, a batch for it, and the loss gradient at its output. Shapes: module docstring."""

    x: Array
    W0: Array
    A: Array
    B: Array
    dy: Array
    alpha: float

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
        """The precision that the layer works in."""
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
    def arrays(self) -> dict[str, Array]:
        """All five arrays by name."""
        return {"x": self.x, "W0": self.W0, "A": self.A, "B": self.B, "dy": self.dy}

    def replace(self, **fields: Any) -> LoraCase:
        """The same case but for these fields."""
        return dataclasses.replace(self, **fields)

    def astype(self, dtype: DTypeLike) -> LoraCase:
        """The same numbers in another precision."""
        return self.replace(**{name: array.astype(dtype) for name, array in self.arrays.items()})

    def __str__(self) -> str:
        (n, k), d = self.x.shape, self.W0.shape[0]
        lines = [f"n={n}, d={d}, k={k}, r={self.r}, alpha={self.alpha}, scaling={self.scaling}, {self.dtype}"]
        if sum(array.size for array in self.arrays.values()) <= 64:  # what can be taken in at a glance
            lines += [f"  {name:<2} = {array.tolist()}" for name, array in self.arrays.items()]
        return "\n  ".join(lines)


def dtypes() -> st.SearchStrategy[type[np.floating]]:
    """float64 or float32."""
    return st.sampled_from((np.float64, np.float32))


def shapes(max_side: int = 4) -> st.SearchStrategy[tuple[int, int, int]]:
    """(n, d, k), each from 1 to max_side; in half of the draws d = k, where a wrong transpose can hide."""
    side = st.integers(1, max_side)
    return st.tuples(side, side, side) | st.tuples(side, side).map(lambda sides: (*sides, sides[1]))


def ranks(d: int, k: int) -> st.SearchStrategy[int]:
    """r from 1 to two above min(d, k): nothing in LoRA demands r <= min(d, k)."""
    return st.integers(1, min(d, k) + 2)


def alphas() -> st.SearchStrategy[float]:
    """alpha: the powers of two that people use, and anything from 1/8 to 64. The simplest is 2, not 1."""
    return st.sampled_from((2.0, 1.0, 4.0, 8.0, 16.0, 32.0)) | st.floats(0.125, 64.0)


@st.composite
def weights(draw: st.DrawFn, shape: tuple[int, int], dtype: DTypeLike = np.float32) -> Array:
    """A matrix of numbers in [-1, 1], zeros among them, each column then scaled by a power of ten.

    The powers are 0, or one for the whole matrix, or one for each column, from 10^-6 to 10^6. The longest
    product here has six such factors (dy, x, A, B, s and the number of terms) and must not overflow: so
    float16 gets 10^0.
    """
    decades = min(6, int(math.log10(np.finfo(dtype).max)) // 6)
    power = st.integers(-decades, decades)
    powers = draw(st.just(0) | power | st.lists(power, min_size=shape[1], max_size=shape[1]))
    entry = from_dtype(np.dtype(dtype), min_value=-1.0, max_value=1.0, allow_subnormal=False)
    plain = draw(arrays(dtype, shape, elements=entry, fill=st.nothing()))
    return (plain * 10.0 ** np.asarray(powers)).astype(dtype)


def adapters(d: int, k: int, r: int, dtype: DTypeLike = np.float32) -> st.SearchStrategy[tuple[Array, Array]]:
    """(A, B), A (r, k) and B (d, r), as after some training: B need not be zero."""
    return st.tuples(weights((r, k), dtype), weights((d, r), dtype))


@st.composite
def lora_cases(draw: st.DrawFn, max_side: int = 4, dtype: DTypeLike | None = None) -> LoraCase:
    """A `LoraCase`, all of the above free to vary unless dtype is given.

    It shrinks to n = d = k = r = 1, scaling 2, float64, and entries 0 and 1.
    """
    dtype = draw(dtypes()) if dtype is None else dtype
    n, d, k = draw(shapes(max_side))
    A, B = draw(adapters(d, k, draw(ranks(d, k)), dtype))
    x, W0, dy = (draw(weights(shape, dtype)) for shape in ((n, k), (d, k), (n, d)))
    return LoraCase(x, W0, A, B, dy, alpha=draw(alphas()))
