"""Exercise 19 (lesson 7): a merge that can be undone to the last bit."""

from typing import Any

import numpy as np


def merge(W0: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float) -> tuple[np.ndarray, Any]:
    """Merge, and keep whatever `unmerge` will need.

    W0 (d, k)   A (r, k)   B (d, r)   alpha a number. W0 must be as before when you return. All arrays are float64, or
    all are float32.

    Returns W = W0 + (alpha / r) B A, (d, k), and what you keep: an array, or a tuple or dictionary of arrays.
    """
    raise NotImplementedError


def unmerge(W: np.ndarray, kept: Any) -> np.ndarray:
    """W0, the very same bits, from what `merge` returned. (W - (alpha / r) B A is only close: why?)"""
    raise NotImplementedError
