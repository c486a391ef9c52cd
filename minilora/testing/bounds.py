"""Bounds on rounding.

The model is fl(a op b) = (a op b)(1 + delta), |delta| <= u (Higham, sec. 2.2). A term that meets n roundings
on its way into a sum is multiplied by 1 + theta_n, |theta_n| <= gamma_n = n u / (1 - n u) (lemma 3.1), in
whatever order the sum is taken (sec. 3.1). So every bound here is gamma_n times the sum of the magnitudes of
the terms, and the derivations only count roundings. A product that underflows gradually is off by up to
eta / 2 besides; eta is the smallest subnormal number.

"Higham" is N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002.
"""

from __future__ import annotations

from functools import partial, reduce

import numpy as np
from numpy.typing import DTypeLike

from minilora.testing.case import Array, LoraCase


def unit_roundoff(dtype: DTypeLike) -> float:
    """u, the largest relative error of rounding: 2^-53 in float64, 2^-24 in float32, 2^-11 in float16."""
    return float(np.finfo(dtype).eps) / 2


def gamma(n: int, dtype: DTypeLike) -> float:
    """gamma_n = n u / (1 - n u), which bounds the relative error of n roundings (Higham, lemma 3.1).

    ValueError if n u >= 1 (in float16, from n = 2048): then every digit may be lost.
    """
    nu = n * unit_roundoff(dtype)
    if nu >= 1:
        raise ValueError(f"{n} roundings in {np.dtype(dtype)} may lose every digit: take a wider dtype")
    return nu / (1 - nu)


def _product_bound(roundings: int, dtype: DTypeLike, *factors: Array, scaling: float = 1.0) -> Array:
    """Bound on |fl(s F1 F2 ... Fp) - s F1 F2 ... Fp|, elementwise, for any order of products and scaling.

    No term may meet more than n = `roundings` roundings. We count one more: gamma_{n+1} >= gamma_n (1 + 1/n),
    and the 1/n pays for evaluating the bound itself in float64 (a little over n roundings of 2^-53 each).

    Underflow: every term takes p products and a rounding of s, each of which may lose eta / 2. The factors
    still to come magnify that by at most max(1, |factor|), later roundings by 1 + gamma_n. (We count eta, as
    eta / 2 is 0 in float64.)
    """
    relative = gamma(roundings + 1, dtype)
    losses = (len(factors) + 1) * float(np.finfo(dtype).smallest_subnormal) * (1 + relative)
    sizes = [np.abs(factor).astype(np.float64) for factor in factors]
    terms = abs(scaling) * reduce(np.matmul, sizes)
    magnified = max(1.0, abs(scaling)) * reduce(np.matmul, [np.maximum(1.0, size) for size in sizes])
    return relative * terms + losses * magnified


def _coarsest(*factors: Array) -> np.dtype:
    return max((factor.dtype for factor in factors), key=unit_roundoff)


def forward_error_bound(x: Array, W0: Array, A: Array, B: Array, scaling: float, more: int = 0) -> Array:
    """How far a computed y = x W0^T + s (x A^T) B^T may be from the exact one, elementwise: (n, d), float64.

        |fl(y) - y| <= gamma_N (|x| |W0|^T + |s| |x| |A|^T |B|^T) + underflow,      N = 2k + r + 3

    Count the roundings of a term x_j s A_pj B_ip. The sum over k costs at most k (one product, k - 1
    additions), the sum over r at most r, the scaling 2 (s to the working precision, the product), adding the
    base's part 1. That is k + r + 3 in every order: s (B A), (s B) A, B (s A), s (x A^T), merged first or
    not. A kernel that goes on to add the base's k products in the same accumulator makes it 2k + r + 3. A
    term x_j W0_ij meets no more than that. This holds for all conventional products, fused multiply-add
    included, but not for Strassen's.

    The precision is the coarsest argument's. Accumulating in a wider one, as NumPy's float16 matmul does in
    float32, only removes roundings. `more` counts roundings that follow in the use of y.
    """
    dtype, roundings = _coarsest(x, W0, A, B), 2 * W0.shape[1] + A.shape[0] + 3 + more
    base = _product_bound(roundings, dtype, x, W0.T)
    return base + _product_bound(roundings, dtype, x, A.T, B.T, scaling=scaling)


def merge_error_bound(x: Array, W0: Array, A: Array, B: Array, scaling: float) -> Array:
    """How far the merged layer's output may be from the unmerged one's, elementwise: (n, d), float64.

    In exact arithmetic x (W0 + s B A)^T = x W0^T + s (x A^T) B^T. Each side is computed within
    `forward_error_bound` of that, so the two are within twice the bound of each other.
    """
    return 2 * forward_error_bound(x, W0, A, B, scaling)


def merged_weight_bound(W0: Array, A: Array, B: Array, scaling: float) -> Array:
    """How far a computed W0 + s B A or W0 - s B A may be from the exact one, elementwise: (d, k), float64.

        |fl(W) - W| <= gamma_{r+3} (|W0| + |s| |B| |A|) + underflow

    The sum over r costs a term at most r roundings, the scaling 2 and adding W0 1 (see
    `forward_error_bound`).
    """
    dtype, roundings = _coarsest(W0, A, B), A.shape[0] + 3
    return _product_bound(roundings, dtype, W0) + _product_bound(roundings, dtype, B, A, scaling=scaling)


def unmerge_drift_bound(W0: Array, A: Array, B: Array, scaling: float, cycles: int = 1) -> Array:
    """How far W0 may have moved after cycles of W = W0 + s B A, W0 = W - s B A, elementwise: (d, k), float64.

    The exact updates cancel, so the drift is the sum of the rounding errors of 2 * cycles steps, each bounded
    by gamma_{r+3} (|weight at its start| + |s| |B| |A|) + underflow as in `merged_weight_bound`. That weight
    is at most |W0| + drift before merging, and |s| |B| |A| and merging's own error more before unmerging. To
    first order, drift <= cycles * gamma_{r+3} (2 |W0| + 3 |s| |B| |A|).
    """
    dtype, roundings = _coarsest(W0, A, B), A.shape[0] + 3
    bound = partial(_product_bound, roundings, dtype)
    update_size = abs(scaling) * (np.abs(B).astype(np.float64) @ np.abs(A))
    update_error = bound(B, A, scaling=scaling)
    size, drift = np.abs(W0).astype(np.float64), np.zeros(W0.shape)
    for _ in range(cycles):
        merging = bound(size + drift) + update_error
        unmerging = bound(size + drift + update_size + merging) + update_error
        drift = drift + merging + unmerging
    return drift


def backward_bounds(case: LoraCase) -> tuple[Array, Array, Array]:
    """Bounds on the rounding of dx = dy W0 + s dy B A, dA = s B^T dy^T x and dB = s dy^T x A^T.

    Their sums run over n, d, k and r. No term meets more roundings than all of these together, with n, d and
    k twice for fused sums (see `forward_error_bound`), and 3 for the scaling and the last addition.
    """
    dy, x, W0, A, B, s = case.dy, case.x, case.W0, case.A, case.B, case.scaling
    roundings = 2 * (sum(x.shape) + W0.shape[0]) + case.r + 3
    bound = partial(_product_bound, roundings, case.dtype)
    dx = bound(dy, W0) + bound(dy, B, A, scaling=s)
    return dx, bound(B.T, dy.T, x, scaling=s), bound(dy.T, x, A.T, scaling=s)
