"""The laws (Hu et al. 2021, section 4.1), one function each.

A law takes one case and the functions it is about, and raises AssertionError if they break it.
"""

from __future__ import annotations

import numpy as np

from minilora.testing.bounds import (
    backward_bounds,
    forward_error_bound,
    merge_error_bound,
    merged_weight_bound,
    unmerge_drift_bound,
)
from minilora.testing.case import Array, Implementation, LoraCase
from minilora.testing.verdict import call, compare, gradient_slips, gradients, output_slips, reference, slips, update


def zero_init_is_identity(case: LoraCase, forward: Implementation, base_forward: Implementation | None = None) -> None:
    """With B = 0, where training starts, the adapted layer is the base layer: y = x W0^T (section 4.1).

    Within `forward_error_bound`; exactly (but 0.0 equals -0.0) if base_forward(x, W0), the layer without
    LoRA, is given.
    """
    case = case.replace(B=np.zeros_like(case.B))
    y = _forward(case, forward)
    expected, bound = reference(case)
    if base_forward is not None:
        expected = call(case, "base_forward", base_forward, x=case.x, W0=case.W0, **case.bias)
        bound = np.zeros(y.shape)
    compare("zero-init identity", "with B = 0, forward(...) is not x W0^T", case, y, expected, bound)


def forward_is_equation_3(case: LoraCase, forward: Implementation) -> None:
    """forward computes h = W0 x + s B A x (equation 3), within `forward_error_bound`."""
    statement = "forward(...) is not x W0^T + s (x A^T) B^T" + (" + b" if case.bias else "")
    compare("forward is equation 3", statement, case, _forward(case, forward), *reference(case), output_slips(case))


def _forward(case: LoraCase, forward: Implementation) -> Array:
    return call(case, "forward", forward, x=case.x, **case.layer, **case.bias)


def update_has_rank_r(case: LoraCase, merge: Implementation) -> None:
    """rank(dW) <= r: singular value r + 1 of dW = merge(...) - W0 is no larger than rounding (section 4.1).

    dW = s B A + E with |E| <= `merged_weight_bound`. Singular value r + 1 of s B A is 0, so that of dW is at
    most ||E||_2 <= ||E||_F (Weyl's inequality). Computing dW and its SVD in float64 adds at most
    (1 + max(d, k)) eps times the largest singular value (LAPACK Users' Guide, sec. 4.9).
    """
    dW = call(case, "merge", merge, **case.layer).astype(np.float64) - case.W0
    if case.r >= min(dW.shape):
        return  # there is no singular value r + 1
    singular = np.linalg.svd(dW, compute_uv=False) if np.isfinite(dW).all() else np.full(dW.shape, np.nan)[0]
    svd_error = (1 + max(dW.shape)) * np.finfo(np.float64).eps * singular[0]
    bound = np.linalg.norm(merged_weight_bound(**case.layer)) + svd_error
    statement = f"singular value {case.r + 1} of merge(...) - W0 is not 0"
    compare("rank(dW) <= r", statement, case, singular[case.r], np.zeros(()), bound)


def merged_equals_unmerged(case: LoraCase, forward: Implementation, merge: Implementation) -> None:
    """x W^T with the merged W equals forward's result without merging, within `merge_error_bound`."""
    merged = case.x @ call(case, "merge", merge, **case.layer).T + (0 if case.b is None else case.b)
    bound = merge_error_bound(case.unbiased.x, **case.unbiased.layer)
    statement = f"x @ merge(...).T{' + b' if case.bias else ''} is not forward(x, ...)"
    compare("merged equals unmerged", statement, case, merged, _forward(case, forward), bound, output_slips(case))


def merged_layer_equals_unmerged(
    case: LoraCase, forward: Implementation, merge: Implementation, merged_forward: Implementation
) -> None:
    """The layer's own forward after merging returns what it returned before: the branch is not added again."""
    W = call(case, "merge", merge, **case.layer)
    merged = call(case, "merged_forward", merged_forward, x=case.x, W=W, **case.adapter, **case.bias)
    bound = merge_error_bound(case.unbiased.x, **case.unbiased.layer)
    statement, likely = "merged_forward(x, merge(...), ...) is not forward(x, ...)", output_slips(case)
    compare("merged equals unmerged", statement, case, merged, _forward(case, forward), bound, likely)


def unmerge_restores(
    case: LoraCase, merge: Implementation, unmerge: Implementation, exact: bool = False, cycles: int = 2
) -> None:
    """unmerge after merge gives W0 back: within `unmerge_drift_bound`, or exactly if exact=True.

    exact=True is for implementations that keep W0 aside instead of subtracting. Their unmerge may ignore the
    W it is given and return what the merge just before it kept. (0.0 equals -0.0.) There are two cycles,
    because a fault of the first may show only in the second.
    """
    W0 = case.W0
    for _ in range(cycles):
        W = call(case, "merge", merge, W0=W0, **case.adapter)
        W0 = call(case, "unmerge", unmerge, W=W, **case.adapter)
    bound = np.zeros(W0.shape) if exact else unmerge_drift_bound(**case.layer, cycles=cycles)
    dW = update(case)
    got_instead = {slip: case.W0 + cycles * (dW - got) for slip, got in slips(dW, case.scaling).items()}
    statement = f"merge and unmerge, {cycles} times over, do not give W0 back"
    compare("unmerge restores", statement, case, W0, case.W0, bound, got_instead)


def gradients_match_finite_differences(case: LoraCase, forward: Implementation, backward: Implementation) -> None:
    """dx, dA, dB of backward are the derivatives of the loss sum(dy * forward(...)), every entry, in float64.

    The tolerance is how much the two sides may round: `backward_bounds`, and the bound of
    `_central_differences`.
    """
    case = case.astype(np.float64)
    found = call(case, "backward", backward, dy=case.dy, x=case.x, **case.layer, **case.bias)
    for name, gradient, rounding in zip(("x", "A", "B"), found, backward_bounds(case), strict=True):
        expected, bound = _central_differences(case, forward, name)
        statement = f"d{name} of backward(...) is not the finite difference of sum(dy * forward(...))"
        law, likely = "gradients match finite differences", gradient_slips(case, name)
        compare(law, statement, case, gradient, expected, bound + rounding, likely)


def gradients_match_equation_3(case: LoraCase, backward: Implementation) -> None:
    """dx = dy W0 + s dy B A, dA = s B^T dy^T x, dB = s dy^T x A^T in the case's own precision and size.

    These are the derivatives of equation 3, which `forward_is_equation_3` holds forward to; finite differences would
    need two calls per entry, and float64. Within `backward_bounds`.
    """
    found = call(case, "backward", backward, dy=case.dy, x=case.x, **case.layer, **case.bias)
    bounds = zip(backward_bounds(case), backward_bounds(case.astype(np.float64)), strict=True)
    low_rank, base = gradients(case)
    for name, gradient, (bound, ours) in zip(("x", "A", "B"), found, bounds, strict=True):
        statement = f"d{name} of backward(...) is not the derivative of sum(dy * forward(...))"
        law, expected = "gradients match equation 3", low_rank[name] + base[name]
        compare(law, statement, case, gradient, expected, bound + ours, gradient_slips(case, name))


def _central_differences(case: LoraCase, forward: Implementation, name: str) -> tuple[Array, Array]:
    """((L(P + h) - L(P - h)) / 2h for every entry of P = case.<name>, a bound on the error).

    L = sum(dy * y) is affine in each of x, A and B when the other two are fixed. So there is no truncation
    error, and h may be as large as the largest entry around, which keeps the rounding of the rest from
    drowning the difference. Rounding remains. L is a sum of n d more products; the difference, the step as
    it came out and the quotient make 3 roundings. Taking |P| + h for P bounds the two losses of all entries
    at once; their errors E give 2 E / 2h.
    """
    P, eta = getattr(case, name), float(np.finfo(np.float64).smallest_subnormal)
    h = max(1.0, *(float(np.abs(array).max()) for array in case.arrays.values()))
    slopes = np.empty_like(P)
    for index in np.ndindex(P.shape):
        ends, losses = [], []
        for step in (h, -h):
            moved = P.copy()
            moved[index] += step
            at = case.replace(**{name: moved})
            ends.append(moved[index])
            losses.append(np.sum(case.dy * _forward(at, forward)))
        slopes[index] = (losses[0] - losses[1]) / (ends[0] - ends[1])
    widest = case.replace(**{name: np.abs(P) + h}).unbiased
    y_error = forward_error_bound(widest.x, **widest.layer, more=case.dy.size + 3)
    loss_error = np.sum(np.abs(case.dy) * y_error) + case.dy.size * eta
    return slopes, np.full(P.shape, loss_error / h + eta)
