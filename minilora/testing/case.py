"""A case: one adapted layer, a batch for it, and a loss gradient at its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray
Implementation = Callable[..., Any]  # one of the functions that `check_lora` is given
Law = Callable[["LoraCase"], None]


@dataclasses.dataclass(frozen=True, eq=False)
class LoraCase:
    """Shapes: x (n, k), W0 (d, k), A (r, k), B (d, r), dy (n, d)."""

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
    def arrays(self) -> dict[str, Array]:
        """All five arrays by name."""
        return {"x": self.x, "W0": self.W0, "A": self.A, "B": self.B, "dy": self.dy}

    def replace(self, **fields: Any) -> LoraCase:
        """The same case with other values for these fields."""
        return dataclasses.replace(self, **fields)

    def astype(self, dtype: DTypeLike) -> LoraCase:
        """The same numbers in another precision."""
        return self.replace(**{name: array.astype(dtype) for name, array in self.arrays.items()})

    def __str__(self) -> str:
        (n, k), d = self.x.shape, self.W0.shape[0]
        lines = [f"n={n}, d={d}, k={k}, r={self.r}, alpha={self.alpha}, scaling={self.scaling}, {self.dtype}"]
        if sum(array.size for array in self.arrays.values()) <= 64:  # small enough to read at a glance
            lines += [f"  {name:<2} = {array.tolist()}" for name, array in self.arrays.items()]
        return "\n  ".join(lines)
