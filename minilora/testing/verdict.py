"""Calling an implementation, comparing its result with a bound, and recognising the mistake behind a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from minilora.testing.bounds import forward_error_bound, unit_roundoff
from minilora.testing.case import Array, Implementation, LoraCase


def call(case: LoraCase, role: str, function: Implementation, **arguments: Any) -> Any:
    """The function's result as a new array; for backward, a list of three, or of four with DoRA's dm.

    This checks four laws that hold for all functions: they accept every case, return real numbers, leave their
    inputs alone, and return the right shapes.
    """
    passed = {name: _laid_out(case, name, v) if isinstance(v, np.ndarray) else v for name, v in arguments.items()}
    before = {name: np.copy(v) for name, v in passed.items()}
    try:
        result = function(*passed.values())
        results = [] if result is None else list(result) if role == "backward" else [result]
        arrays = [np.array(part) for part in results]
    except Exception as error:
        _fail("every case is accepted", case, f"{role}(...) raised {type(error).__name__}: {error}")
    if result is None or any(part is None for part in results):
        cure = "if it works in place, wrap it in a function that returns the new array"
        _fail("results are real numbers", case, f"{role}(...) returned {result}: {cure}")
    for array in arrays:
        if array.dtype.kind != "f":
            _fail("results are real numbers", case, f"{role}(...) returned {array.dtype}, expected {case.dtype}")
    for name, value in before.items():
        if not np.array_equal(value, passed[name]):
            _fail("inputs are left alone", case, f"{role}(...) changed its argument {name}")
    (k, d), rows = case.W0.shape[::-1], case.rows
    found, expected = [array.shape for array in arrays], [(*rows, d)]
    if role in ("merge", "unmerge"):
        expected = [(d, k)]
    elif role == "backward":
        expected = [(*rows, k), case.A.shape, case.B.shape, *([] if case.m is None else [(d,)])]
    if found != expected:
        _fail("shapes fit", case, f"{role}(...) has shape {found}, expected {expected}")
    arrays[0] = arrays[0].reshape(-1, arrays[0].shape[-1])
    return arrays if role == "backward" else arrays[0]


def _laid_out(case: LoraCase, name: str, array: Array) -> Array:
    """A copy of an argument in the case's layout; x and dy as sequences if the case asks for them."""
    if name in ("x", "dy"):
        array = array.reshape(*case.rows, array.shape[-1])
    if case.layout != "strided":
        return np.array(array, order="F" if case.layout == "F" else "C")
    larger = np.zeros([2 * size for size in array.shape], array.dtype)
    view = larger[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def update(case: LoraCase) -> Array:
    """s B A in float64."""
    return case.scaling * (case.B.astype(np.float64) @ case.A)


def reference(case: LoraCase) -> tuple[Array, Array]:
    """(y = x W0^T + b + s (x A^T) B^T in float64, how far a correct y in case.dtype may be from it)."""
    case = case.unbiased
    wide = case.astype(np.float64)
    y = wide.x @ wide.W0.T + case.scaling * (wide.x @ wide.A.T) @ wide.B.T
    return y, forward_error_bound(case.x, **case.layer) + forward_error_bound(wide.x, **wide.layer)


def gradients(case: LoraCase) -> tuple[dict[str, Array], dict[str, Array]]:
    """(the parts of dx, dA and dB that pass through the low-rank update, and through W0), in float64."""
    wide, s = case.astype(np.float64), case.scaling
    dy, x, W0, A, B = wide.dy, wide.x, wide.W0, wide.A, wide.B
    low_rank = {"x": s * (dy @ B) @ A, "A": s * (dy @ B).T @ x, "B": s * dy.T @ (x @ A.T)}
    return low_rank, {"x": dy @ W0, "A": np.zeros(A.shape), "B": np.zeros(B.shape)}


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
        "the low-rank part is added twice": 2 * right,
        "the low-rank part is missing": np.zeros_like(right),
        "the low-rank part has the wrong sign": -right,
    }
    if right.shape[0] == right.shape[1]:  # first: for some simple matrices the transpose equals another slip
        slips = {"the low-rank part is transposed": right.T, **slips}
    return slips


def output_slips(case: LoraCase) -> dict[str, Array]:
    """What common mistakes give instead of y = x (W0 + s B A)^T + b."""
    case, dW = case.unbiased, update(case)
    x, pad = case.x.astype(np.float64), [(0, 0), (0, case.x.shape[1] - dW.shape[1])]
    return {slip: x @ (case.W0 + np.pad(wrong, pad)).T for slip, wrong in slips(dW, case.scaling).items()}


def gradient_slips(case: LoraCase, name: str) -> dict[str, Array]:
    """What common mistakes give instead of d<name>."""
    low_rank, base = gradients(case)
    found = {slip: base[name] + part for slip, part in slips(low_rank[name], case.scaling).items()}
    if name == "x":
        return {"the base's part dy W0 is missing": low_rank["x"], **found}
    if case.A.shape == case.B.shape:
        return {"dA and dB are swapped": low_rank["B" if name == "A" else "A"], **found}
    return found


def _likely_slip(case: LoraCase, got: Array, expected: Array, bound: Array, slips: Mapping[str, Array]) -> str | None:
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
