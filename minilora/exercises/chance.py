"""Are these numbers what a random generator draws?  Tests that a right answer fails for less than one seed in 10^9.

Each looks for something that wrong answers have and independent Gaussian numbers have not: another distribution,
numbers that come twice (equal rows, a half that repeats the other, equal seeds), sums and lengths that are too equal
(centred or normalised rows) or too different, rows that are orthogonal or alike.
"""

from __future__ import annotations

import math

import numpy as np

POINTS = np.linspace(-4.5, 4.5, 91)
BELOW = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in POINTS])  # the part of Gaussian numbers below each
COMPARED = 30  # rows or columns of an array, at most


def not_gaussian(samples: np.ndarray) -> str | None:
    """What is wrong with `samples` (n, r, k) as n independent arrays of independent standard Gaussian numbers.

    n should be at least 30, and n r k 20,000: fewer show less.
    """
    n, r, k = samples.shape
    flat = np.sort(samples, axis=None)
    part = np.searchsorted(flat, POINTS) / flat.size
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = (np.where(p > 0, p * np.log(p / q), 0.0) for p, q in ((part, BELOW), (1 - part, 1 - BELOW)))
    # P(a part as far on one side of q as p is) <= exp(-N KL(p, q)) (Chernoff 1952); 91 points of two sides each.
    if flat.size * (below + above).max() > math.log(2 * len(POINTS) * 1e10):
        return "its numbers do not have the distribution of Gaussian numbers of this spread"
    if np.unique(np.abs(flat)).size < 0.99 * flat.size:
        return "some of its numbers come more than once"
    # In each group of m numbers, the sum over sqrt(m) and (sum of squares - m) / sqrt(2 m) have mean square 1.
    for groups in (samples.reshape(n * r, k), samples.transpose(0, 2, 1).reshape(n * k, r), samples.reshape(n, r * k)):
        sums, lengths = groups.sum(axis=1), (groups**2).sum(axis=1)
        m = groups.shape[1]
        spread = [(sums**2 / m).mean(), ((lengths - m) ** 2 / (2 * m)).mean() if m >= 8 else 1.0]
        if len(groups) >= 30 and not all(0.1 < square < 4 for square in spread):
            return "its rows, its columns or the whole are centred, normalised, or of different spreads"
    for groups in (samples[:, :COMPARED], samples.transpose(0, 2, 1)[:, :COMPARED], samples.reshape(1, n, r * k)):
        _, count, m = np.shape(groups)
        products = groups @ groups.transpose(0, 2, 1)
        squares = (products**2).sum(axis=(1, 2)) - np.einsum("nii->ni", products**2).sum(axis=1)
        mean = squares / (count * (count - 1) * m) if count >= 12 and m >= 8 else np.ones(1)
        if not ((mean > 0.1) & (mean < 4)).all():
            return "its rows, its columns, or arrays for different seeds are alike or orthogonal"
    return None
