"""Forty wrong implementations of LoRA such as people write, each caught by `check_lora` under the right law.

Each differs from the textbook in one place. Many are right on small contiguous float64 matrices with a positive
scaling, and wrong elsewhere.
"""

import numpy as np
import pytest

from minilora.testing import check_lora
from tests.testing.test_testing import FORWARD, GRADIENTS, MERGED, REAL, TEXTBOOK, backward, forward, merge, unmerge

ACCEPTED, ALONE, SHAPES = "every case is accepted", "inputs are left alone", "shapes fit"
ZERO, RANK, RESTORES, DERIVATIVES = (
    "zero-init identity",
    "rank(dW) <= r",
    "unmerge restores",
    "gradients match equation 3",
)


def with_bias(x, W0, A, B, s, b):
    return forward(x, W0, A, B, s) + b


def backward_with_bias(dy, x, W0, A, B, s, b):
    return backward_of_sequences(dy, x, W0, A, B, s)


def backward_of_sequences(dy, x, W0, A, B, s):
    dx, dA, dB = backward(dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1]), W0, A, B, s)
    return dx.reshape(x.shape), dA, dB


BIASED = {
    "forward": with_bias,
    "merge": merge,
    "unmerge": unmerge,
    "backward": backward_with_bias,
    "base_forward": lambda x, W0, b: x @ W0.T + b,
    "merged_forward": lambda x, W, A, B, s, b: x @ W.T + b,
    "bias": True,
}
SEQUENCES = {**TEXTBOOK, "backward": backward_of_sequences, "sequences": True}
RIGHT = {
    "a bias": BIASED,
    "a bias and sequences": {**BIASED, "sequences": True},
    "sequences": SEQUENCES,
    "a layer that knows it is merged": {**TEXTBOOK, "merged_forward": lambda x, W, A, B, s: x @ W.T},
    "float16": {**TEXTBOOK, "dtypes": ("float16",)},
}


@pytest.mark.parametrize("functions", RIGHT.values(), ids=RIGHT)
def test_right_implementations_are_not_accused(functions):
    check_lora(**functions)


# ------------------------------------------------------------------------------------- what the mutants do


def mutant(kind=None, **functions):
    """The textbook with other functions."""
    return {**(kind or TEXTBOOK), **functions}


def blocked(axis, block):
    """A forward in blocks of this size that forgets an incomplete last block of rows, sums or columns."""

    def product(left, right):
        size = {"rows": left.shape[0], "sums": left.shape[1], "columns": right.shape[1]}[axis]
        done = size - size % block if size > block else size
        if axis == "sums":
            return left[:, :done] @ right[:done]
        y = left @ right
        y[(slice(done, None), slice(None)) if axis == "rows" else (slice(None), slice(done, None))] = 0
        return y

    return lambda x, W0, A, B, s: x @ W0.T + s * product(product(x, A.T), B.T)


def up_to_rank(most, function):
    """The function, for the first `most(W0)` directions only."""
    return lambda *a: function(*a[:-3], a[-3][: most(*a)], a[-2][:, : most(*a)], a[-1])


def in_memory_order(matrix):
    """The matrix read as C code reads it that ignores strides."""
    memory = matrix.T if matrix.flags.f_contiguous else matrix
    return np.frombuffer(memory.tobytes(), matrix.dtype).reshape(matrix.shape)


def reading(index, function):
    """The function, reading one of its arguments without its strides."""
    return lambda *a: function(*a[:index], in_memory_order(a[index]), *a[index + 1 :])


def scaling_by(change, function):
    return lambda *a: function(*a[:-1], change(a[-1]))


def only(condition, right, wrong):
    """`wrong` where the condition on the arguments holds, `right` elsewhere."""
    return lambda *a: (wrong if condition(*a) else right)(*a)


def gradient(index, change, right=backward):
    """The right backward, with dx, dA or dB (index 0, 1 or 2) changed: change(gradient, *arguments)."""
    return lambda *a: [change(g, *a) if i == index else g for i, g in enumerate(right(*a))]


def in_half(function):
    """The function computed in float16, and rounded back."""
    return lambda *a: function(*(np.clip(v, -6e4, 6e4).astype(np.float16) for v in a[:-1]), a[-1]).astype(a[0].dtype)


def is_single(array, *_):
    return array.dtype == np.float32


def in_place(W0, A, B, s):
    W0 += s * (B @ A)


class Cached:
    """Merges once, and uses that product for as long as the shapes stay the same."""

    def __init__(self):
        self.products = {}

    def forward(self, x, W0, A, B, s):
        return x @ (W0 + s * self.products.setdefault((A.shape, B.shape), B @ A)).T


SMALL_ONLY = {
    "rows in blocks of 16": (mutant(forward=blocked("rows", 16)), FORWARD),
    "columns in blocks of 16": (mutant(forward=blocked("columns", 16)), FORWARD),
    "sums in blocks of 16": (mutant(forward=blocked("sums", 16)), FORWARD),
    "sums in blocks of 64": (mutant(forward=blocked("sums", 64)), FORWARD),
    "sums in blocks of 128": (mutant(forward=blocked("sums", 128)), FORWARD),
    "sums in blocks of 256": (mutant(forward=blocked("sums", 256)), FORWARD),
    "ranks up to 8": (mutant(forward=up_to_rank(lambda *_: 8, forward)), FORWARD),
    "ranks up to 16, in merge": (mutant(merge=up_to_rank(lambda *_: 16, merge)), MERGED),
    "ranks up to min(d, k)": (mutant(forward=up_to_rank(lambda x, W0, *_: min(W0.shape), forward)), FORWARD),
    "dA of the first 16 inputs": (
        mutant(backward=gradient(1, lambda g, *_: np.where(np.arange(g.shape[1]) < 16, g, 0))),
        DERIVATIVES,
    ),
    "dB of the first 64 rows": (
        mutant(backward=gradient(2, lambda g, dy, x, *a: backward(dy[:64], x[:64], *a)[2])),
        DERIVATIVES,
    ),
}
PRECISION = {
    "dB rounded to float16": (
        mutant(backward=only(is_single, backward, gradient(2, lambda g, *_: g.astype(np.float16).astype(g.dtype)))),
        DERIVATIVES,
    ),
    "float32 in float16": (mutant(forward=only(is_single, forward, in_half(forward))), ZERO),
    "s in float16": (mutant(forward=scaling_by(lambda s: float(np.float16(s)), forward)), FORWARD),
    "s a whole number": (mutant(merge=scaling_by(round, merge)), MERGED),
}
MEMORY = {
    "x without its strides": (mutant(forward=reading(0, forward)), ZERO),
    "A without its strides": (mutant(forward=reading(2, forward)), FORWARD),
    "B without its strides, in merge": (mutant(merge=reading(2, merge)), MERGED),
    "dy without its strides": (mutant(backward=reading(0, backward)), GRADIENTS),
    "contiguous only": (
        mutant(forward=only(lambda x, *_: not x.flags.c_contiguous, forward, lambda *a: 1 / 0)),
        ACCEPTED,
    ),
    "x overwritten": (mutant(forward=lambda x, *layer: np.add(forward(x, *layer), x.fill(0) or 0)), ALONE),
}
SIGN = {
    "|s|": (mutant(forward=scaling_by(abs, forward)), FORWARD),
    "sqrt(s) on either side": (mutant(merge=lambda W0, A, B, s: W0 + (np.sqrt(s) * B) @ (np.sqrt(s) * A)), RANK),
    "no update for s <= 0": (
        mutant(forward=only(lambda *a: a[-1] <= 0, forward, lambda x, W0, *_: x @ W0.T)),
        FORWARD,
    ),
}
RESULTS = {
    "complex": (mutant(forward=lambda *a: forward(*a) + 0j), REAL),
    "text": (mutant(merge=lambda *a: merge(*a).astype(str)), REAL),
    "objects": (mutant(unmerge=lambda *a: unmerge(*a).astype(object)), REAL),
    "whole numbers": (mutant(forward=lambda *a: np.round(forward(*a)).astype(np.int64)), REAL),
    "merging in place, returning None": (mutant(merge=in_place), REAL),
    "no gradient of x": (mutant(backward=gradient(0, lambda *_: None)), REAL),
    "four gradients": (mutant(backward=lambda *a: (*backward(*a), a[0])), SHAPES),
    "one row squeezed": (mutant(forward=lambda *a: np.squeeze(forward(*a))), SHAPES),
}
MERGING = {
    "merged twice": (mutant(merge=lambda W0, *a: merge(merge(W0, *a), *a)), MERGED),
    "the branch again after merging": (mutant(merged_forward=forward), MERGED),
    "the branch again, unscaled": (mutant(merged_forward=scaling_by(lambda s: 1.0, forward)), MERGED),
    "unmerged twice": (mutant(unmerge=lambda W, *a: unmerge(unmerge(W, *a), *a)), RESTORES),
    "an old product": (mutant(forward=Cached().forward), FORWARD),
}
BIASES = {
    "added with each branch": (mutant(BIASED, forward=lambda *a: with_bias(*a) + a[-1]), ZERO),
    "lost after merging": (mutant(BIASED, merged_forward=lambda x, W, *_: x @ W.T), MERGED),
    "in dx": (
        mutant(BIASED, backward=gradient(0, lambda g, *a: g + a[-1].sum(), backward_with_bias)),
        GRADIENTS,
    ),
    "scaled": (mutant(BIASED, forward=lambda *a: forward(*a[:-1]) + a[-2] * a[-1]), ZERO),
}
SEQUENCE = {
    "only batches of rows": (
        mutant(SEQUENCES, forward=lambda x, W0, A, B, s: np.einsum("nk,dk->nd", x, W0 + s * B @ A)),
        ACCEPTED,
    ),
    "only the last position": (
        mutant(
            SEQUENCES, forward=lambda x, W0, A, B, s: x @ W0.T + s * (x[..., -1:, :] if x.ndim > 2 else x) @ A.T @ B.T
        ),
        FORWARD,
    ),
    "flattened": (mutant(SEQUENCES, forward=lambda x, *a: forward(x.reshape(-1, x.shape[-1]), *a)), SHAPES),
    "dA of the first sequence": (
        mutant(
            SEQUENCES,
            backward=gradient(
                1, lambda g, dy, x, *a: g if x.ndim == 2 else backward(dy[0], x[0], *a)[1], backward_of_sequences
            ),
        ),
        GRADIENTS,
    ),
}
KINDS = (SMALL_ONLY, PRECISION, MEMORY, SIGN, RESULTS, MERGING, BIASES, SEQUENCE)
MUTANTS = {name: found for kind in KINDS for name, found in kind.items()}


@pytest.mark.parametrize(("functions", "law"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_caught_by_the_expected_law(functions, law):
    with pytest.raises(AssertionError) as failure:
        check_lora(**functions)
    assert str(failure.value).startswith(f"law '{law}' is broken: ")


def test_there_are_forty_mutants():
    assert len(MUTANTS) >= 40


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (mutant(merge=lambda W0, *a: merge(merge(W0, *a), *a)), "the low-rank part is added twice"),
        (mutant(merged_forward=forward), "the low-rank part is added twice"),
        (
            mutant(merge=in_place),
            "returned None: if it works in place, wrap it in a function that returns",
        ),
        (mutant(forward=blocked("sums", 16)), "k=17"),
        (mutant(forward=reading(0, forward)), "in Fortran order"),
        (mutant(forward=lambda *a: forward(*a) + 0j), "returned complex128, expected float64"),
        (mutant(forward=scaling_by(abs, forward)), "the low-rank part has the wrong sign"),
    ],
)
def test_the_message_names_the_mistake(functions, words):
    with pytest.raises(AssertionError) as failure:
        check_lora(**functions)
    assert words in str(failure.value)
