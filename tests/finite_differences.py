"""Derivatives by central differences, with a bound on their error: every backward is compared with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

H = 2.0**-8


def central_differences(loss: Callable[[], float], x: np.ndarray, rounding: float) -> tuple[np.ndarray, np.ndarray]:
    """(dloss/dx, a bound on its error) for each entry of x, which is moved in place and put back.

    D(h) = (L(x + h) - L(x - h)) / 2h is out by c h^2 + O(h^4), so R(h) = (4 D(h) - D(2h)) / 3 is by O(h^4)
    (Richardson). R(2h) is out by 16 times as much, so |R(h) - R(2h)| is 15 times the error of R(h), and bounds it
    with room for the next order. If the loss itself is known to within `rounding`, then D(h) is out by up to
    rounding / h, and R(h) and the difference by less than 4 rounding / h.
    """
    slopes, errors = np.empty_like(x), np.empty_like(x)
    for index in np.ndindex(x.shape):
        before = x[index]

        def D(h: float, index=index, before=before) -> float:
            losses = []
            ends = before + h, before - h  # rounded, so not quite 2 h apart
            for x[index] in ends:
                losses.append(loss())
            x[index] = before
            return (losses[0] - losses[1]) / (ends[0] - ends[1])

        D1, D2, D4 = D(H), D(2 * H), D(4 * H)
        R1, R2 = (4 * D1 - D2) / 3, (4 * D2 - D4) / 3
        slopes[index], errors[index] = R1, abs(R1 - R2) + 4 * rounding / H
    return slopes, errors


def assert_gradient(got: np.ndarray, loss: Callable[[], float], x: np.ndarray, rounding: float) -> None:
    """`got` is dloss/dx, entry by entry, to within what central differences can tell, which is at least 6 digits.

    The factor 2 covers the gradient's own rounding, which is far below that of a difference quotient.
    """
    expected, error = central_differences(loss, x, rounding)
    assert got.shape == x.shape and got.dtype == x.dtype
    assert error.max() <= 1e-6 * max(1.0, np.abs(expected).max()), "the differences are too coarse to test anything"
    np.testing.assert_array_less(np.abs(got - expected), 2 * error)
