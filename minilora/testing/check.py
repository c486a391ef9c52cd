"""`check_lora`: hold an implementation to the laws on generated cases, and report the simplest failure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from minilora.testing.case import Implementation, Law, LoraCase
from minilora.testing.laws import (
    forward_is_equation_3,
    gradients_match_finite_differences,
    merged_equals_unmerged,
    unmerge_restores,
    update_has_rank_r,
    zero_init_is_identity,
)
from minilora.testing.smallest import simpler_entries, smallest, without
from minilora.testing.strategies import drawn_cases


def check_lora(
    *,
    forward: Implementation,
    merge: Implementation | None = None,
    unmerge: Implementation | None = None,
    backward: Implementation | None = None,
    base_forward: Implementation | None = None,
    exact_unmerge: bool = False,
    max_examples: int = 200,
) -> None:
    """Check every law about the given functions on max_examples generated cases.

    forward, merge, unmerge, backward   see `minilora.testing`
    base_forward                        requires `zero_init_is_identity` to hold exactly
    exact_unmerge                       requires `unmerge_restores` to hold exactly

    AssertionError if a law is broken. It names the law, the expected and the actual number, the bound, the
    likely mistake if it is a common one, and the smallest case found. The same code always gets the same
    cases, and nothing is left on disk.
    """
    __tracebackhide__ = True  # pytest then points at the caller
    if merge is None and unmerge is not None:
        raise ValueError("unmerge undoes merge: give check_lora both")
    laws: list[Law] = [
        partial(zero_init_is_identity, forward=forward, base_forward=base_forward),
        partial(forward_is_equation_3, forward=forward),
    ]
    if merge is not None:
        laws.append(partial(update_has_rank_r, merge=merge))
        laws.append(partial(merged_equals_unmerged, forward=forward, merge=merge))
        if unmerge is not None:
            laws.append(partial(unmerge_restores, merge=merge, unmerge=unmerge, exact=exact_unmerge))
    if backward is not None:
        laws.append(partial(gradients_match_finite_differences, forward=forward, backward=backward))
    for law in laws:
        for case in drawn_cases(max_examples):
            message = _message(law, case)
            if message is not None:
                raise AssertionError(smallest(case, message, _simplifications, partial(_message, law))[1])


def _message(law: Law, case: LoraCase) -> str | None:
    """The law's error on this case, or None if the case keeps it."""
    try:
        with np.errstate(all="ignore"):  # overflow shows in the results
            law(case)
    except AssertionError as error:
        return str(error)
    return None


def _simplifications(case: LoraCase) -> Iterator[LoraCase]:
    """The case with one thing simpler, the boldest changes first."""
    axes = {"x": "n k", "W0": "d k", "A": "r k", "B": "d r", "dy": "n d"}
    (n, k), (d, r) = case.x.shape, case.B.shape
    for axis, size in {"n": n, "d": d, "k": k, "r": r}.items():
        for i in range(size if size > 1 else 0):
            yield case.replace(**without(case.arrays, axes, axis, i))
    if case.dtype != np.float64:
        yield case.astype(np.float64)
    if case.alpha != 2:
        yield case.replace(alpha=2.0)
    for name, array in case.arrays.items():
        if array.any():
            yield case.replace(**{name: np.zeros_like(array)})
    for name, array in case.arrays.items():
        for simpler in simpler_entries(array):
            yield case.replace(**{name: simpler})
