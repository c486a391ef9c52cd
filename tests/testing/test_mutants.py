"""Implementations of LoRA such as people write: no right one is accused, each wrong one breaks the expected law.

A check is only worth something if it fails when it should. Each mutant differs from the textbook in one place. Many are
right on small contiguous float64 matrices with a positive scaling, and wrong elsewhere.
"""

from functools import partial

import numpy as np
import pytest

from minilora.testing import check_lora
from tests.testing.test_testing import GRADIENTS, TEXTBOOK, backward, forward, fused_forward, merge, unmerge

ACCEPTED, ALONE, SHAPES = "every case is accepted", "inputs are left alone", "shapes fit"
FORWARD, MERGED, REAL = "forward is equation 3", "merged equals unmerged", "results are real numbers"
ZERO, RANK, RESTORES = "zero-init identity", "rank(dW) <= r", "unmerge restores"
DERIVATIVES = "gradients match equation 3"


class KeepsBase:
    """A layer that keeps W0 aside when it merges: a copy, or (wrongly) the array that merging changes."""

    def __init__(self, copied=True):
        self.copied = copied

    def merge(self, W0, A, B, scaling):
        W = W0.copy()
        self.kept = W.copy() if self.copied else W
        W += scaling * (B @ A)
        return W

    def unmerge(self, W, A, B, scaling):
        return self.kept

    def functions(self):
        return {"forward": forward, "merge": self.merge, "unmerge": self.unmerge, "exact_unmerge": True}


def accumulating_forward(x, W0, A, B, scaling):
    """The base's product, to which the update is added in place."""
    y = x @ W0.T
    y += scaling * ((x @ A.T) @ B.T)
    return y


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
    "textbook": {**TEXTBOOK, "base_forward": lambda x, W0: x @ W0.T},
    "B scaled first": {
        "forward": lambda x, W0, A, B, s: x @ W0.T + (x @ A.T) @ (s * B).T,
        "merge": lambda W0, A, B, s: W0 + (s * B) @ A,
        "unmerge": lambda W, A, B, s: W - B @ (s * A),
        "backward": lambda dy, x, W0, A, B, s: (dy @ (W0 + s * B @ A), (s * B).T @ (dy.T @ x), (dy.T @ x) @ A.T * s),
    },
    "einsum": {
        "forward": lambda x, W0, A, B, s: x @ W0.T + s * np.einsum("nk,rk,dr->nd", x, A, B),
        "merge": lambda W0, A, B, s: W0 + s * np.einsum("dr,rk->dk", B, A),
        "unmerge": lambda W, A, B, s: W - s * np.einsum("dr,rk->dk", B, A),
        "backward": lambda dy, x, W0, A, B, s: (
            np.einsum("nd,dk->nk", dy, W0) + s * np.einsum("nd,dr,rk->nk", dy, B, A),
            s * np.einsum("nd,dr,nk->rk", dy, B, x),
            s * np.einsum("nd,nk,rk->dr", dy, x, A),
        ),
    },
    "merged always": {"forward": lambda x, W0, A, B, s: x @ merge(W0, A, B, s).T, "merge": merge},
    "one accumulator": {"forward": fused_forward, "backward": backward},
    "added in place": {"forward": accumulating_forward, "merge": merge},
    "base kept aside": KeepsBase().functions(),
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


unscaled = partial(scaling_by, lambda s: 1.0)


def only(condition, right, wrong):
    """`wrong` where the condition on the arguments holds, `right` elsewhere."""
    return lambda *a: (wrong if condition(*a) else right)(*a)


def gradient(index, change, right=backward):
    """The right backward, with dx, dA or dB (index 0, 1 or 2) changed: change(gradient, *arguments)."""
    return lambda *a: [change(g, *a) if i == index else g for i, g in enumerate(right(*a))]


def half(array):
    return np.clip(array, -6e4, 6e4).astype(np.float16)


def in_half(function):
    """The function computed in float16, and rounded back."""
    return lambda *a: function(*map(half, a[:-1]), a[-1]).astype(a[0].dtype)


def in_single(function):
    """The function computed in float32, whatever its arguments' precision."""
    return lambda *a: function(*map(np.float32, a))


def is_single(array, *_):
    return array.dtype == np.float32


def in_place(W0, A, B, s):
    W0 += s * (B @ A)


def in_place_backward(dy, x, W0, A, B, s):
    dy *= s
    return dy @ W0 / s + dy @ B @ A, (dy @ B).T @ x, dy.T @ (x @ A.T)


def swapping_backward(*a):
    dx, dA, dB = backward(*a)
    return (dx, dB, dA) if dA.shape == dB.shape else (dx, dA, dB)


def transposed_where_square(W0, A, B, s):
    BA = B @ A
    return W0 + s * (BA.T if len(W0) == len(W0.T) else BA)


class Cached:
    """Merges once, and uses that product for as long as the shapes stay the same."""

    def __init__(self):
        self.products = {}

    def forward(self, x, W0, A, B, s):
        return x @ (W0 + s * self.products.setdefault((A.shape, B.shape), B @ A)).T


MISSING, TWICE = "the scaling alpha / r is missing", "the scaling alpha / r is applied twice"
LOST, TRANSPOSED = "the low-rank part is missing", "the low-rank part is transposed"
ADDED_TWICE, SIGN_WRONG = "the low-rank part is added twice", "the low-rank part has the wrong sign"
# What it is called: (the functions, the law that must be named), and what else the message must contain, if anything.
SCALING = {
    "forward without alpha / r": (mutant(forward=unscaled(forward)), FORWARD, MISSING),
    "forward and merge without alpha / r": (mutant(forward=unscaled(forward), merge=unscaled(merge)), FORWARD, MISSING),
    "forward scales twice": (mutant(forward=scaling_by(lambda s: s * s, forward)), FORWARD, TWICE),
    "divided by s": (mutant(forward=scaling_by(lambda s: 1 / s, forward)), FORWARD, "the scaling alpha / r divides"),
    "merge without alpha / r": (mutant(merge=unscaled(merge)), MERGED, MISSING),
    "unmerge without alpha / r": (mutant(unmerge=unscaled(unmerge)), RESTORES, MISSING),
    "dA unscaled": (mutant(backward=gradient(1, lambda g, *a: g / a[-1])), GRADIENTS, "dA of", MISSING),
    "dB unscaled": (mutant(backward=gradient(2, lambda g, *a: g / a[-1])), GRADIENTS, "dB of", MISSING),
    "dB scaled twice": (mutant(backward=gradient(2, lambda g, *a: g * a[-1])), GRADIENTS, "dB of", TWICE),
    "dx unscaled": (mutant(backward=gradient(0, lambda g, *a: backward(*a[:-1], 1)[0])), GRADIENTS, "dx of", MISSING),
}
FORMULA = {
    "forward without LoRA": (mutant(forward=lambda x, W0, *_: x @ W0.T), FORWARD, LOST),
    "forward transposes B A": (
        mutant(forward=lambda x, W0, A, B, s: x @ W0.T + s * x @ (B @ A)),
        ACCEPTED,
        "forward(...) raised ValueError: matmul",
    ),
    "B A transposed if square": (mutant(forward=lambda x, *a: x @ transposed_where_square(*a).T), FORWARD, TRANSPOSED),
    "merge transposes B A if square": (mutant(merge=transposed_where_square), MERGED, TRANSPOSED),
    "A ignored": (mutant(forward=lambda x, W0, A, *a: forward(x, W0, np.ones_like(A), *a)), FORWARD, "A  = [[0.0]]"),
    "forward adds a bias": (mutant(forward=lambda *a: forward(*a) + 1), ZERO, "got 1.0"),
    "forward not the base's to the bit": (
        mutant(base_forward=lambda x, W0: (x @ W0.T) * x.dtype.type(1 + 2e-7)),
        ZERO,
        "the bound is 0",
    ),
    "merge with too high a rank": (
        mutant(merge=lambda W0, *a: merge(W0, *a) + 0.001 * np.eye(*W0.shape)),
        RANK,
        "singular value 2",
    ),
    "unmerge does nothing": (mutant(unmerge=lambda W, *_: W), RESTORES, LOST),
    "unmerge adds": (mutant(unmerge=merge), RESTORES, SIGN_WRONG),
    "base kept aside without a copy": (mutant(**KeepsBase(copied=False).functions()), RESTORES, LOST),
    "dx through LoRA only": (
        mutant(backward=lambda dy, x, W0, *a: backward(dy, x, 0 * W0, *a)),
        GRADIENTS,
        "the base's part dy W0 is missing",
    ),
    "dA and dB swapped where they can be": (mutant(backward=swapping_backward), GRADIENTS, "dA and dB are swapped"),
}
SMALL_ONLY = {
    "r = 1": (mutant(forward=lambda x, W0, A, B, s: forward(x, W0, A[:1], B[:, :1], s)), FORWARD, "n=1, d=1, k=1, r=2"),
    "one row": (mutant(forward=lambda x, *a: forward(x[:1], *a) + np.zeros((len(x), 1))), ZERO, "n=2, d=1, k=1, r=1"),
    "rows in blocks of 16": (mutant(forward=blocked("rows", 16)), FORWARD),
    "columns in blocks of 16": (mutant(forward=blocked("columns", 16)), FORWARD),
    "sums in blocks of 16": (mutant(forward=blocked("sums", 16)), FORWARD, "k=17"),
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
    "forward in float32 inside": (mutant(forward=in_single(forward)), ZERO, "float32 is used on the way"),
    "merge in float32 inside": (mutant(merge=in_single(merge)), RANK, "float64"),
    "the update rounded to float16": (
        mutant(forward=lambda x, W0, *a: x @ W0.T + half(forward(x, 0 * W0, *a))),
        FORWARD,
        "float16 is used on the way",
    ),
    "dB rounded to float16": (
        mutant(backward=only(is_single, backward, gradient(2, lambda g, *_: g.astype(np.float16).astype(g.dtype)))),
        DERIVATIVES,
    ),
    "float32 in float16": (mutant(forward=only(is_single, forward, in_half(forward))), ZERO),
    "s in float16": (mutant(forward=scaling_by(lambda s: float(np.float16(s)), forward)), FORWARD),
    "s a whole number": (mutant(merge=scaling_by(round, merge)), MERGED),
}
MEMORY = {
    "x without its strides": (mutant(forward=reading(0, forward)), ZERO, "in Fortran order"),
    "A without its strides": (mutant(forward=reading(2, forward)), FORWARD),
    "B without its strides, in merge": (mutant(merge=reading(2, merge)), MERGED),
    "dy without its strides": (mutant(backward=reading(0, backward)), GRADIENTS),
    "contiguous": (mutant(forward=only(lambda x, *_: not x.flags.c_contiguous, forward, lambda *a: 1 / 0)), ACCEPTED),
    "x overwritten": (mutant(forward=lambda x, *layer: np.add(forward(x, *layer), x.fill(0) or 0)), ALONE),
    "W0 in place": (mutant(merge=lambda W0, *a: in_place(W0, *a) or W0), ALONE, "merge(...) changed its argument W0"),
    "dy overwritten": (mutant(backward=in_place_backward), ALONE, "backward(...) changed its argument dy"),
}
SIGN = {
    "|s|": (mutant(forward=scaling_by(abs, forward)), FORWARD, SIGN_WRONG),
    "sqrt(s) on either side": (mutant(merge=lambda W0, A, B, s: W0 + (np.sqrt(s) * B) @ (np.sqrt(s) * A)), RANK),
    "no update for s <= 0": (mutant(forward=only(lambda *a: a[-1] <= 0, forward, lambda x, W0, *_: x @ W0.T)), FORWARD),
}
RESULTS = {
    "NaN": (mutant(forward=lambda *a: forward(*a) * np.nan), ZERO, "got nan"),
    "a transposed result": (mutant(forward=lambda *a: forward(*a).T), SHAPES, "forward(...) has shape"),
    "complex": (mutant(forward=lambda *a: forward(*a) + 0j), REAL, "returned complex128, expected float64"),
    "text": (mutant(merge=lambda *a: merge(*a).astype(str)), REAL),
    "objects": (mutant(unmerge=lambda *a: unmerge(*a).astype(object)), REAL),
    "whole numbers": (mutant(forward=lambda *a: np.round(forward(*a)).astype(np.int64)), REAL),
    "merging in place, returning None": (
        mutant(merge=in_place),
        REAL,
        "returned None: if it works in place, wrap it in a function that returns",
    ),
    "no gradients": (mutant(backward=lambda *a: None), REAL, "backward(...) returned None"),
    "two gradients": (mutant(backward=lambda *a: backward(*a)[1:]), SHAPES, "backward(...) has shape"),
    "no gradient of x": (mutant(backward=gradient(0, lambda *_: None)), REAL),
    "four gradients": (mutant(backward=lambda *a: (*backward(*a), a[0])), SHAPES),
    "one row squeezed": (mutant(forward=lambda *a: np.squeeze(forward(*a))), SHAPES),
}
MERGING = {
    "merged twice": (mutant(merge=lambda W0, *a: merge(merge(W0, *a), *a)), MERGED, ADDED_TWICE),
    "the branch again after merging": (mutant(merged_forward=forward), MERGED, ADDED_TWICE),
    "the branch again, unscaled": (mutant(merged_forward=unscaled(forward)), MERGED),
    "unmerged twice": (mutant(unmerge=lambda W, *a: unmerge(unmerge(W, *a), *a)), RESTORES),
    "an old product": (mutant(forward=Cached().forward), FORWARD),
}
BIASES = {
    "added with each branch": (mutant(BIASED, forward=lambda *a: with_bias(*a) + a[-1]), ZERO),
    "lost after merging": (mutant(BIASED, merged_forward=lambda x, W, *_: x @ W.T), MERGED),
    "in dx": (mutant(BIASED, backward=gradient(0, lambda g, *a: g + a[-1].sum(), backward_with_bias)), GRADIENTS),
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
KINDS = (SCALING, FORMULA, SMALL_ONLY, PRECISION, MEMORY, SIGN, RESULTS, MERGING, BIASES, SEQUENCE)
MUTANTS = {name: found for kind in KINDS for name, found in kind.items()}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught_by_the_expected_law_and_the_message_names_the_mistake(name):
    functions, law, *says = MUTANTS[name]
    with pytest.raises(AssertionError) as failure:
        check_lora(**functions)
    message = str(failure.value)
    assert message.startswith(f"law '{law}' is broken: ") and all(part in message for part in says)


def test_no_two_mutants_share_a_name():
    assert len(MUTANTS) == sum(map(len, KINDS)) >= 75
