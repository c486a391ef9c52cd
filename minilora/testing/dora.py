"""The laws of DoRA (Liu et al. 2024, arXiv 2402.09353, equation 5), for `check_lora(variant="dora")`.

    V = W0 + s B A      n_i = ||V_i||      g = m / n      forward: y = g * (x V^T) + b      merge: W = g * V

Every function gets m (d,) after the scaling, and backward returns dx, dA, dB, dm, with n held constant (section 4.3).

What differs from LoRA. "rank(dW) <= r" is broken, and must be: W - W0 = (g - 1) W0 + g s B A, and (g - 1) W0 has W0's
rank unless all rows grow alike. In its place, each row of the merged W is as long as m says, and points along V. Zero
init needs m = ||W0|| besides B = 0. `unmerge` cannot be computed from W, which has lost n, so it must have kept W0.

The bounds count roundings as in `bounds`. V is off by at most E = `merged_weight_bound`, so n by at most
e = ||E_i|| + gamma_{k+2} (n + ||E_i||) + k eta / n (the squares may underflow), and g by |m| (e / n + u) / (n - e).
Where e is n / 2 or more, V is rounding error, and nothing is required. Terms of y are taken |g| + 2 times, and b's
rounding is a term of x V^T, which allows for PEFT's order: y' = x W0^T + b, then y' + (g - 1) (y' - b) + g s x A^T B^T.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minilora.testing.bounds import backward_bounds, forward_error_bound, gamma, merged_weight_bound, unit_roundoff
from minilora.testing.case import Array, Implementation, Law, LoraCase
from minilora.testing.verdict import call, compare, gradients, reference, update


class Gain(NamedTuple):
    """g, n and V in float64, and how far a computed g may be from g: infinite where V is rounding error."""

    g: Array
    n: Array
    V: Array
    error: Array


def gain(case: LoraCase) -> Gain:
    """For a case with magnitudes."""
    assert case.m is not None
    V = case.W0.astype(np.float64) + update(case)
    n, m = np.linalg.norm(V, axis=1), np.abs(case.m.astype(np.float64))
    E = np.linalg.norm(merged_weight_bound(**case.layer), axis=1)
    with np.errstate(all="ignore"):
        underflow = V.shape[1] * float(np.finfo(case.dtype).smallest_subnormal) / n  # of the squares under the root
        e = E + gamma(V.shape[1] + 2, case.dtype) * (n + E) + underflow
        error = np.where(e < n / 2, m * (e / n + unit_roundoff(case.dtype)) / (n - e), np.inf)
        return Gain(np.where(e < n / 2, case.m / n, 0.0), n, V, error)


def prepared(cases: Sequence[LoraCase]) -> list[LoraCase]:
    """The cases with magnitudes from half to twice the rows' lengths; no row of W0 is zero, which has no direction."""
    found = []
    for i, case in enumerate(cases):
        W0 = case.W0.copy()
        W0[~W0.any(axis=1), 0] = 1
        factors = 2.0 ** ((np.arange(len(W0)) + i) % 5 / 2 - 1)
        found.append(case.replace(W0=W0, m=(np.linalg.norm(W0.astype(np.float64), axis=1) * factors).astype(W0.dtype)))
    return found


def _output(case: LoraCase, forward: Implementation) -> Array:
    return call(case, "forward", forward, x=case.x, **case.layer, m=case.m, **case.bias)


def _compare_rows(law: str, statement: str, case: LoraCase, got: Array, right: Array, bound: Array) -> None:
    """Only the outputs whose V is more than rounding error; the last axis is d."""
    sound = np.isfinite(gain(case).error)
    compare(law, statement, case, got[..., sound], right[..., sound], bound[..., sound])


def _expected(case: LoraCase) -> tuple[Array, Array]:
    """y, and how far a computed y may be from it."""
    here, plain = gain(case), case.replace(b=None)
    u, u_error = reference(plain)
    b = np.zeros(len(here.g)) if case.b is None else case.b.astype(np.float64)
    more = forward_error_bound(case.x, **case.layer, more=6) + u_error + 6 * unit_roundoff(case.dtype) * np.abs(b)
    return here.g * u + b, here.error * _sizes(case) + (np.abs(here.g) + 2) * more


def zero_init_is_identity(case: LoraCase, forward: Implementation, base_forward: Implementation | None = None) -> None:
    """With B = 0 and m = ||W0|| the layer is the base layer; exactly if base_forward(x, W0) is given."""
    lengths = np.linalg.norm(case.W0.astype(np.float64), axis=1).astype(case.dtype)
    case = case.replace(B=np.zeros_like(case.B), m=lengths)
    right, bound = _expected(case)
    if base_forward is not None:
        right = call(case, "base_forward", base_forward, x=case.x, W0=case.W0, **case.bias)
    statement = "with B = 0 and m = ||W0||, forward(...) is not x W0^T"
    _compare_rows("zero-init identity", statement, case, _output(case, forward), right, bound)


def forward_is_equation_5(case: LoraCase, forward: Implementation) -> None:
    statement = "forward(...) is not m / ||V|| * (x V^T) with V = W0 + s B A"
    _compare_rows("forward is equation 5", statement, case, _output(case, forward), *_expected(case))


def merge_is_equation_5(case: LoraCase, merge: Implementation) -> None:
    """W = m / ||V|| * V, and x W^T is what forward computes."""
    W, here = call(case, "merge", merge, **case.layer, m=case.m), gain(case)
    E, size = merged_weight_bound(**case.layer), np.abs(here.V)
    rounding = E + 4 * unit_roundoff(case.dtype) * size
    bound = here.error[:, None] * (size + E) + (np.abs(here.g)[:, None] + 2) * rounding
    statement = "merge(...) is not m / ||V|| * V: its rows must be as long as m, and point along V"
    _compare_rows("merge is equation 5", statement, case, W.T, (here.g[:, None] * here.V).T, bound.T)
    merged = case.x.astype(np.float64) @ W.T.astype(np.float64) + (0 if case.b is None else case.b)
    right, y_bound = _expected(case)
    y_bound = y_bound + np.abs(case.x).astype(np.float64) @ np.nan_to_num(bound, posinf=0.0).T
    _compare_rows("merged equals unmerged", "x @ merge(...).T is not forward(x, ...)", case, merged, right, y_bound)


def unmerge_restores(case: LoraCase, merge: Implementation, unmerge: Implementation) -> None:
    W = call(case, "merge", merge, **case.layer, m=case.m)
    W0 = call(case, "unmerge", unmerge, W=W, **case.adapter, m=case.m)
    statement = "unmerge after merge does not give W0 back: keep W0, because W has lost the lengths of V's rows"
    compare("unmerge restores", statement, case, W0, case.W0, np.zeros(W0.shape))


def gradients_match_equation_5(case: LoraCase, backward: Implementation) -> None:
    """dx, dA, dB are LoRA's for g * dy, and dm = sum over rows of dy * (x V^T) / n, with n held constant."""
    found = call(case, "backward", backward, dy=case.dy, x=case.x, **case.layer, m=case.m, **case.bias)
    here = gain(case)
    if not np.isfinite(here.error).all():
        return
    wide = case.astype(np.float64)
    low_rank, base = gradients(wide.replace(dy=here.g * wide.dy))  # LoRA's, for g * dy
    u, u_error = reference(case.replace(b=None))
    right = {name: low_rank[name] + base[name] for name in "xAB"} | {"m": (wide.dy * u).sum(axis=0) / here.n}
    larger = case.replace(dy=((np.abs(here.g) + 2) * np.abs(wide.dy)).astype(case.dtype))
    size = {name: np.abs(array) for name, array in wide.arrays.items()}
    # What the error of g adds.
    off_low, off_base = gradients(wide.replace(**size | {"dy": here.error * size["dy"]}, alpha=abs(case.alpha)))
    own = dict(zip("xAB", backward_bounds(larger), strict=True))
    bounds = {name: 2 * own[name] + off_low[name] + off_base[name] for name in "xAB"}
    relative = 2 * _relative(here) + gamma(len(case.x) + 8, case.dtype)
    b_error = 0.0 if case.b is None else 3 * unit_roundoff(case.dtype) * size["b"]
    bounds["m"] = (size["dy"] * (2 * u_error + b_error + relative * _sizes(case))).sum(axis=0) / here.n
    for name, gradient in zip("xABm", found, strict=True):
        statement = f"d{name} of backward(...) is not the derivative of sum(dy * forward(...)), ||V|| held constant"
        gradient = np.reshape(gradient, right[name].shape)
        compare("gradients match equation 5", statement, case, gradient, right[name], bounds[name])


def laws(
    forward: Implementation,
    merge: Implementation | None,
    unmerge: Implementation | None,
    backward: Implementation | None,
    base_forward: Implementation | None,
) -> list[Law]:
    """The laws that these functions can be held to."""
    held: list[Law] = [partial(zero_init_is_identity, forward=forward, base_forward=base_forward)]
    held.append(partial(forward_is_equation_5, forward=forward))
    if merge is not None:
        held.append(partial(merge_is_equation_5, merge=merge))
    if merge is not None and unmerge is not None:
        held.append(partial(unmerge_restores, merge=merge, unmerge=unmerge))
    if backward is not None:
        held.append(partial(gradients_match_equation_5, backward=backward))
    return held


def _sizes(case: LoraCase) -> Array:
    """|x| (|W0| + |s| |B| |A|)^T, (n, d): the terms of x V^T without their signs."""
    x, W0, A, B = (np.abs(array).astype(np.float64) for array in (case.x, case.W0, case.A, case.B))
    return x @ (W0 + abs(case.scaling) * B @ A).T


def _relative(here: Gain) -> Array:
    """How far 1 / n may be off, relatively: as g is, whatever m."""
    return np.where(here.g != 0, here.error / np.maximum(np.abs(here.g), np.finfo(float).tiny), 0.0)
