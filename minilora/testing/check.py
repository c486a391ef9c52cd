"""`check_lora`: hold an implementation to the laws on generated cases, and report the simplest failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from minilora.testing import dora, laws
from minilora.testing.case import Implementation, Law, LoraCase
from minilora.testing.smallest import simpler_entries, smallest, without
from minilora.testing.strategies import large_cases, small_cases


def check_lora(
    *,
    forward: Implementation,
    merge: Implementation | None = None,
    unmerge: Implementation | None = None,
    backward: Implementation | None = None,
    base_forward: Implementation | None = None,
    merged_forward: Implementation | None = None,
    exact_unmerge: bool = False,
    bias: bool = False,
    sequences: bool = False,
    variant: str = "lora",
    dtypes: Sequence[str] = ("float64", "float32"),
    max_examples: int = 200,
) -> None:
    """Check every law about the given functions on max_examples small generated cases and on some larger ones.

    forward, merge, unmerge, backward   see `minilora.testing`
    base_forward     (x, W0) -> y of the layer without LoRA, to which `zero_init_is_identity` must hold exactly
    merged_forward   (x, W, A, B, scaling) -> y of your layer after merging: it must not add its branch again
    exact_unmerge    `unmerge_restores` must hold exactly
    bias             the layer has a bias: all but merge and unmerge get b (d,) as their last argument
    sequences        x and dy are (B, T, k) and (B, T, d) in half of the cases
    variant          "dora": the functions get magnitudes m (d,) after the scaling, and the laws are DoRA's: see
                     `minilora.testing.dora`, which says which of LoRA's laws DoRA breaks, and why
    dtypes           the precisions to try; "float16" is there for those who support it

    AssertionError if a law is broken. It names the law, the expected and the actual number, the bound, the
    likely mistake if it is a common one, and the smallest case found. The same code always gets the same
    cases, and nothing is left on disk.
    """
    __tracebackhide__ = True  # pytest then points at the caller
    given = {"forward": forward, "merge": merge, "unmerge": unmerge, "backward": backward}
    given |= {"base_forward": base_forward, "merged_forward": merged_forward}
    for name, function in given.items():
        if not callable(function) and (function is not None or name == "forward"):
            raise ValueError(f"{name} is {function!r:.80}: give a function of NumPy arrays")
    if not isinstance(variant, str) or variant not in ("lora", "dora"):
        raise ValueError(f'there are laws for "lora" and "dora", not for {variant!r}')
    if not isinstance(dtypes, (list, tuple)) or not dtypes or not all(map(_is_precision, dtypes)):
        raise ValueError(f'dtypes is {dtypes!r:.80}: give some of "float64", "float32" and "float16"')
    if merge is None and (unmerge is not None or merged_forward is not None):
        raise ValueError("unmerge and merged_forward follow a merge: give check_lora your merge too")
    small = _prepared(small_cases(max_examples, tuple(dtypes)), bias, sequences)
    every = [*small, *_prepared(large_cases(tuple(dtypes)), bias, sequences)]
    if variant == "dora":
        for law in dora.laws(forward, merge, unmerge, backward, base_forward):
            _hold(law, dora.prepared(every))
        return
    held: list[Law] = [
        partial(laws.zero_init_is_identity, forward=forward, base_forward=base_forward),
        partial(laws.forward_is_equation_3, forward=forward),
    ]
    if merge is not None:
        held.append(partial(laws.update_has_rank_r, merge=merge))
        held.append(partial(laws.merged_equals_unmerged, forward=forward, merge=merge))
    if merge is not None and merged_forward is not None:
        held.append(
            partial(laws.merged_layer_equals_unmerged, forward=forward, merge=merge, merged_forward=merged_forward)
        )
    if merge is not None and unmerge is not None:
        held.append(partial(laws.unmerge_restores, merge=merge, unmerge=unmerge, exact=exact_unmerge))
    for law in held:
        _hold(law, every)
    if backward is not None:
        _hold(partial(laws.gradients_match_finite_differences, forward=forward, backward=backward), small)
        _hold(partial(laws.gradients_match_equation_3, backward=backward), every)


def _is_precision(dtype: object) -> bool:
    """By its name, or as NumPy's type."""
    return isinstance(dtype, (str, type)) and getattr(dtype, "__name__", dtype) in ("float64", "float32", "float16")


def _prepared(cases: Sequence[LoraCase], bias: bool, sequences: bool) -> list[LoraCase]:
    """The cases with what was asked for: a bias about as large as W0's entries, sequences in every other one."""
    return [
        case.replace(b=case.W0[:, 0] - case.W0[:, -1] + i % 3 if bias else None, sequences=sequences and i % 2 == 0)
        for i, case in enumerate(cases)
    ]


def _hold(law: Law, cases: list[LoraCase]) -> None:
    """AssertionError with the law's message on the simplest case found that breaks it."""
    __tracebackhide__ = True
    for case in cases:
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
    axes = {"x": "n k", "W0": "d k", "A": "r k", "B": "d r", "dy": "n d", **({"b": "d"} if case.bias else {})}
    axes |= {} if case.m is None else {"m": "d"}
    (n, k), (d, r) = case.x.shape, case.B.shape
    for axis, size in {"n": n, "d": d, "k": k, "r": r}.items():
        halves = [slice(size // 2, None), slice(size // 2)] if size > 3 else []
        for part in [*halves, *range(size if size > 1 else 0)]:
            yield case.replace(**without(case.arrays, axes, axis, part))
    if case.sequences:
        yield case.replace(sequences=False)
    if case.layout != "C":
        yield case.replace(layout="C")
    if case.dtype != np.float64:
        yield case.astype(np.float64)
    if case.alpha != 3:
        yield case.replace(alpha=3.0)
    for name, array in case.arrays.items():
        if array.any():
            yield case.replace(**{name: np.zeros_like(array)})
    for name, array in case.arrays.items() if case.is_readable else ():
        for simpler in simpler_entries(array):
            yield case.replace(**{name: simpler})
