"""Calling an implementation, comparing its result with a bound, and recognising the mistake behind a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from minilora.testing.bounds import forward_error_bound, unit_roundoff
from minilora.testing.case import Array, Implementation, LoraCase


def call(case: LoraCase, role: str, function: Implementation, **arguments: Any) -> Any:
    """The function's result as a new array; for backward, a list of three.

    This checks three laws that hold for all functions: they accept every case, leave their inputs alone, and
    return the right shapes.
    """
    passed = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in arguments.items()}
    try:
        result = function(*passed.values())
        results = [np.array(part) for part in (result if role == "backward" else [result])]
    except Exception as error:
        _fail("every case is accepted", case, f"{role}(...) raised {type(error).__name__}: {error}")
    for name, before in arguments.items():
        if not np.array_equal(before, passed[name]):
            _fail("inputs are left alone", case, f"{role}(...) changed its argument {name}")
    found, expected = [part.shape for part in results], [case.dy.shape]
    if role in ("merge", "unmerge"):
        expected = [case.W0.shape]
    elif role == "backward":
        expected = [case.x.shape, case.A.shape, case.B.shape]
    if found != expected:
        _fail("shapes fit", case, f"{role}(...) has shape {found}, expected {expected}")
    return results if role == "backward" else results[0]


def update(case: LoraCase) -> Array:
    """s B A in float64."""
    return case.scaling * (case.B.astype(np.float64) @ case.A)


def reference(case: LoraCase) -> tuple[Array, Array]:
    """(y = x W0^T + s (x A^T) B^T in float64, how far a correct y in case.dtype may be from it)."""
    wide = case.astype(np.float64)
    y = wide.x @ wide.W0.T + case.scaling * (wide.x @ wide.A.T) @ wide.B.T
    return y, forward_error_bound(case.x, **case.layer) + forward_error_bound(wide.x, **wide.layer)


def compare(
    law: str,
    statement: str,
    case: LoraCase,
    got: Array,
    expected: Array,
    bound: Array,
    slips: Mapping[str, Array] = MappingProxyType({}),
) -> None:
    """Fail, showing the worst entry, unless |got - expected| <= bound in every entry (NaN never is)."""
    got = np.asarray(got, np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(got - expected)
        if (error <= bound).all():
            return
        ratio = np.where(error <= bound, 0.0, np.nan_to_num(error / bound, nan=np.inf, posinf=np.inf))
    at = np.unravel_index(np.argmax(ratio), ratio.shape)
    place = f" at {[int(i) for i in at]}" if at else ""
    excess = f", exceeded {ratio[at]:.3g} times" if np.isfinite(ratio[at]) else ""
    lines = [
        statement,
        f"expected {expected[at]}, got {got[at]}{place}",
        f"off by {error[at]:.3g}; the bound is {bound[at]:.3g}{excess}",
    ]
    slip = _likely_slip(case, got, expected, bound, slips)
    _fail(law, case, *lines, *([f"likely: {slip}"] if slip else []))


def _fail(law: str, case: LoraCase, *lines: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError("\n  ".join([f"law '{law}' is broken: {lines[0]}", *lines[1:], f"example: {case}"]))


def slips(right: Array, scaling: float) -> dict[str, Array]:
    """What common mistakes give instead of an update s B A, or of a gradient, which also has one factor s."""
    slips = {
        "the scaling alpha / r is missing": right / scaling,
        "the scaling alpha / r is applied twice": right * scaling,
        "the scaling alpha / r divides instead of multiplying": right / scaling**2,
        "the low-rank part is missing": np.zeros_like(right),
        "the low-rank part has the wrong sign": -right,
    }
    if right.shape[0] == right.shape[1]:  # first: for some simple matrices the transpose equals another slip
        slips = {"the low-rank part is transposed": right.T, **slips}
    return slips


def output_slips(case: LoraCase) -> dict[str, Array]:
    """What common mistakes give instead of y = x (W0 + s B A)^T."""
    x = case.x.astype(np.float64)
    return {slip: x @ (case.W0 + dW).T for slip, dW in slips(update(case), case.scaling).items()}


def gradient_slips(case: LoraCase, name: str) -> dict[str, Array]:
    """What common mistakes give instead of d<name>."""
    dy, x, W0, A, B, s = case.dy, case.x, case.W0, case.A, case.B, case.scaling
    low_rank = {"x": s * dy @ B @ A, "A": s * B.T @ dy.T @ x, "B": s * dy.T @ x @ A.T}
    base = dy @ W0 if name == "x" else 0.0
    found = {slip: base + part for slip, part in slips(low_rank[name], s).items()}
    if name == "x":
        return {"the base's part dy W0 is missing": low_rank["x"], **found}
    if A.shape == B.shape:
        return {"dA and dB are swapped": low_rank["B" if name == "A" else "A"], **found}
    return found


def _likely_slip(
    case: LoraCase,
    got: Array,
    expected: Array,
    bound: Array,
    slips: Mapping[str, Array],
) -> str | None:
    """The slip that would make this very error, to four digits, if any. (A hint, not a law.)"""
    error = got - expected
    for slip, wrong in slips.items():
        if np.allclose(error, wrong - expected, rtol=1e-4, atol=bound):
            return slip
    for coarse in (np.float32, np.float16):
        coarser = unit_roundoff(coarse) / unit_roundoff(case.dtype)
        if coarser > 1 and (np.abs(error) <= coarser * bound).all():
            return f"{coarse.__name__} is used on the way: that is the size of the error"
    return None
