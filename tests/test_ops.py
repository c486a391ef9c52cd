"""Each op is the textbook's formula, each derivative matches its forward, and no op changes its inputs."""

import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import attention, ops
from minilora.testing.bounds import gamma
from tests.finite_differences import assert_gradient
from tests.models import seeds
from tests.op_cases import cases, moved
from tests.reference import Bounded, exactly
from tests.reference_llama import LlamaReference

sides = st.integers(1, 5)
f = LlamaReference()


def gaussian(seed: int, *shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_within(got: np.ndarray, expected: Bounded) -> None:
    """Both approximate one exact result, so they differ by at most twice its bound."""
    assert got.shape == expected.value.shape
    np.testing.assert_array_less(np.abs(got - expected.value), 2 * expected.error + np.finfo(np.float64).tiny)


def assert_derivatives(forward: Callable[[], np.ndarray], dy: np.ndarray, y: Bounded, *found: tuple[Any, Any]) -> None:
    """Each (gradient, input) is the derivative of sum(dy * forward()), which errs by that of `y` and its own."""
    rounding = float((np.abs(dy) * (y.error + gamma(y.value.size + 1, "float64") * y.size)).sum())
    for gradient, x in found:
        assert_gradient(gradient, lambda: float((dy * forward()).sum()), x, rounding)


def larger(x: np.ndarray) -> Bounded:
    """What is at least as large as x while it is moved for a difference."""
    return exactly(np.abs(x) + 1)


# ---------------------------------------------------------------------------------------------- linear


@given(seeds, sides, sides, sides)
def test_linear_is_a_sum_over_inputs_and_a_bias(seed, n, k, d):
    x, W, b = gaussian(seed, (n, k), (d, k), (d,))
    y = ops.linear(x, W, b)
    for i in range(n):
        for j in range(d):
            terms = [x[i, m] * W[j, m] for m in range(k)] + [b[j]]
            assert abs(y[i, j] - math.fsum(terms)) <= gamma(k + 1, "float64") * sum(map(abs, terms))


@given(seeds, st.lists(sides, max_size=3), sides, sides)
def test_linear_treats_every_leading_axis_as_rows(seed, leading, k, d):
    x, W, b = gaussian(seed, (*leading, k), (d, k), (d,))
    y = ops.linear(x, W, b)
    assert y.shape == (*leading, d)
    np.testing.assert_array_equal(y.reshape(-1, d), ops.linear(x.reshape(-1, k), W, b))


@given(seeds, sides, sides, sides)
def test_linear_derivatives(seed, n, k, d):
    x, W, b, dy = gaussian(seed, (n, k), (d, k), (d,), (n, d))
    gradients = (ops.linear_dx(dy, W), x), (ops.linear_dW(dy, x), W), (ops.linear_db(dy), b)
    assert_derivatives(lambda: ops.linear(x, W, b), dy, f.linear(larger(x), larger(W), larger(b)), *gradients)


# ------------------------------------------------------------------------------------------- embedding


@given(seeds, sides, sides, sides, sides)
def test_embedding_looks_rows_up(seed, B, T, V, d):
    (W,) = gaussian(seed, (V, d))
    tokens = np.random.default_rng(seed).integers(V, size=(B, T))
    y = ops.embedding(tokens, W)
    for b in range(B):
        for t in range(T):
            np.testing.assert_array_equal(y[b, t], W[tokens[b, t]])


@given(seeds, sides, sides, st.integers(1, 3), sides)
def test_embedding_gradient_adds_up_every_occurrence(seed, B, T, V, d):
    (dy,) = gaussian(seed, (B, T, d))
    tokens = np.random.default_rng(seed).integers(V, size=(B, T))
    dW = ops.embedding_dW(dy, tokens, V)
    for v in range(V):
        occurrences = dy[tokens == v]
        bound = gamma(B * T, "float64") * np.abs(occurrences).sum(axis=0)
        assert (np.abs(dW[v] - occurrences.sum(axis=0)) <= bound).all()


# ------------------------------------------------------------------------------------------- LayerNorm


@given(seeds, sides, st.integers(2, 8), st.sampled_from((1e-5, 0.1)))
def test_layer_norm_is_the_formula(seed, n, d, eps):
    x, weight, bias = gaussian(seed, (n, d), (d,), (d,))
    y, _, _ = ops.layer_norm(x, weight, bias, eps)
    assert_within(y, f.layer_norm(exactly(x), exactly(weight), exactly(bias), eps))


@given(seeds, sides, st.integers(2, 8), st.floats(0.5, 4), st.floats(-2, 2))
def test_layer_norm_does_not_see_shift_and_scale(seed, n, d, scale, shift):
    x, weight, bias = gaussian(seed, (n, d), (d,), (d,))
    moved = Bounded(x * scale + shift, gamma(2, "float64") * (np.abs(x) * scale + abs(shift)))
    y, _, _ = ops.layer_norm(moved.value, weight, bias, eps=0.0)
    allowed = f.layer_norm(moved, exactly(weight), exactly(bias), eps=0.0).error
    assert_within(y, f.layer_norm(exactly(x), exactly(weight), exactly(bias), eps=0.0)._replace(error=allowed))


@given(seeds, sides, st.integers(2, 8))
def test_layer_norm_derivatives(seed, n, d):
    weight, bias, dy = gaussian(seed, (d,), (d,), (n, d))
    # Rows that are nearly constant would be too steep for differences: these are spread out, in any order.
    rng = np.random.default_rng(seed)
    x = rng.permuted(np.tile(np.linspace(-2, 2, d), (n, 1)), axis=1) + rng.uniform(-0.5, 0.5, (n, d))
    _, xhat, rstd = ops.layer_norm(x, weight, bias, 1e-5)
    gradients = (ops.layer_norm_dx(dy, xhat, rstd, weight), x), (ops.layer_norm_dgamma(dy, xhat), weight)
    y = f.layer_norm(exactly(x), larger(weight), larger(bias))
    gradients += ((ops.linear_db(dy), bias),)
    assert_derivatives(lambda: ops.layer_norm(x, weight, bias, 1e-5)[0], dy, y, *gradients)


# --------------------------------------------------------------------------------------------- RMSNorm


@given(seeds, sides, st.integers(1, 8), st.sampled_from((1e-5, 0.1)))
def test_rms_norm_is_the_formula(seed, n, d, eps):
    x, weight = gaussian(seed, (n, d), (d,))
    assert_within(ops.rms_norm(x, weight, eps)[0], f.rms_norm(exactly(x), exactly(weight), eps))


@given(seeds, sides, st.integers(1, 8))
def test_rms_norm_derivatives(seed, n, d):
    weight, dy = gaussian(seed, (d,), (n, d))
    # Rows near zero would be too steep for differences.
    x = np.random.default_rng(seed).uniform(0.5, 2, (n, d)) * np.where(np.arange(d) % 2, -1, 1)
    _, xhat, rrms = ops.rms_norm(x, weight, 1e-5)
    gradients = (ops.rms_norm_dx(dy, xhat, rrms, weight), x), (ops.layer_norm_dgamma(dy, xhat), weight)
    y = f.rms_norm(exactly(x), larger(weight))
    assert_derivatives(lambda: ops.rms_norm(x, weight, 1e-5)[0], dy, y, *gradients)


# ----------------------------------------------------------------------------------------- GELU and SiLU

# The function, its derivative from (dy, x, y, what the function keeps), and the reference.
activations = pytest.mark.parametrize(
    ("act", "act_dx", "reference"),
    [
        (ops.gelu, ops.gelu_dx, f.gelu),
        (ops.silu, lambda dy, x, y, s: ops.silu_dx(dy, y, s), f.silu),
    ],
    ids=["gelu", "silu"],
)


@activations
@given(seed=seeds, n=sides, d=sides)
def test_an_activation_is_the_formula(act, act_dx, reference, seed, n, d):
    x = 3 * gaussian(seed, (n, d))[0]
    assert_within(act(x)[0], reference(exactly(x)))


@activations
def test_an_activation_of_large_numbers_is_the_number_or_zero(act, act_dx, reference):
    x = np.array([-1e30, -100.0, 0.0, 100.0, 1e30])
    y, kept = act(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 100, 1e30])
    np.testing.assert_array_equal(act_dx(np.ones(5), x, y, kept), [0, 0, 0.5, 1, 1])


@activations
@given(seed=seeds, n=sides, d=sides)
def test_the_derivative_of_an_activation(act, act_dx, reference, seed, n, d):
    x, dy = gaussian(seed, (n, d), (n, d))
    assert_derivatives(lambda: act(x)[0], dy, reference(larger(x)), (act_dx(dy, x, *act(x)), x))


# ---------------------------------------------------------------------------------- rotary positions


def angles(T: int, D: int, theta: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    return ops.rotary_angles(np.arange(T, dtype=float), theta ** (-np.arange(0, D, 2) / D))


@given(seeds, sides, sides, sides)
def test_rotary_multiplies_complex_numbers(seed, H, T, half):
    (x,) = gaussian(seed, (2, H, T, 2 * half))
    assert_within(ops.rotary(x, *angles(T, 2 * half)), f.rotary(exactly(x), 100.0))


@given(seeds, sides, sides, st.integers(0, 50))
def test_turned_queries_and_keys_see_their_distance_only(seed, T, half, shift):
    """q_m . k_n is the same product at positions m + shift and n + shift."""
    q, k = gaussian(seed, (T, 2 * half), (T, 2 * half))
    cos, sin = angles(T + shift, 2 * half)
    here = ops.rotary(q, cos[:T], sin[:T]) @ ops.rotary(k, cos[:T], sin[:T]).T
    there = ops.rotary(q, cos[shift:], sin[shift:]) @ ops.rotary(k, cos[shift:], sin[shift:]).T
    # Each of the two is a product of vectors whose lengths turning keeps; an angle is out by its own roundings.
    lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(k, axis=1)
    assert (np.abs(here - there) <= 2 * lengths * gamma(4 * half + 20 * (T + shift), "float64")).all()


@given(seeds, sides, sides, sides)
def test_rotary_derivative(seed, H, T, half):
    x, dy = gaussian(seed, (2, H, T, 2 * half), (2, H, T, 2 * half))
    cos, sin = angles(T, 2 * half)
    y = f.rotary(larger(x), 100.0)
    assert_derivatives(lambda: ops.rotary(x, cos, sin), dy, y, (ops.rotary_dx(dy, cos, sin), x))


# ------------------------------------------------------------------------------------ causal attention


def attention_shapes(shared_by: int = 1) -> st.SearchStrategy:
    """(B, H, Tq, D), (B, K, Tk, D), where up to `shared_by` query heads share a head of keys and values."""
    return st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, shared_by), sides, sides, sides).map(
        lambda s: ((s[0], s[1] * s[2], s[3], s[5]), (s[0], s[1], s[3] + s[4] - 1, s[5]))
    )


block_sizes = pytest.mark.parametrize("query_block", [1, 2, 64])


@given(seeds, attention_shapes(shared_by=3))
def test_attention_is_the_formula(seed, shapes):
    q, k, v = gaussian(seed, shapes[0], shapes[1], shapes[1])
    each_head = [exactly(x.repeat(q.shape[1] // x.shape[1], axis=1)) for x in (k, v)]
    assert_within(ops.causal_attention(q, k, v)[0], f.attention(exactly(q), *each_head))


@given(seeds, attention_shapes(shared_by=3))
def test_attention_derivatives(seed, shapes):
    q, k, v, dy = gaussian(seed, shapes[0], shapes[1], shapes[1], shapes[0])
    each_head = [exactly(x.repeat(q.shape[1] // x.shape[1], axis=1)) for x in (k, np.abs(v) + 1)]
    found = value_and_gradients(ops, q, k, v, dy)
    gradients = (found["dq"], q), (found["dk"], k), (found["dv"], v)
    y = f.attention(exactly(q), *each_head)
    assert_derivatives(lambda: ops.causal_attention(q, k, v)[0], dy, y, *gradients)


def value_and_gradients(module: ModuleType, q, k, v, dy) -> dict[str, np.ndarray]:
    y, P = module.causal_attention(q, k, v)
    dS = module.causal_attention_dscores(dy, v, y, P)
    return {
        "y": y,
        "dv": module.causal_attention_dv(dy, v, P),
        "dq": module.causal_attention_dq(dS, q, k),
        "dk": module.causal_attention_dk(dS, q, k),
    }


@block_sizes
@given(seed=seeds, shapes=attention_shapes(shared_by=3))
def test_the_fast_attention_is_the_plain_one_in_value_and_gradient(monkeypatch, query_block, seed, shapes):
    """To first order: scores that are out by e change their exponentials by a factor of up to exp(e), and so does their
    sum; every other error is that of a sum, relative to the sum of the sizes of its terms, which for dk and dv are
    those of up to three heads."""
    monkeypatch.setattr(attention, "QUERY_BLOCK", query_block)
    q, k, v, dy = gaussian(seed, shapes[0], shapes[1], shapes[1], shapes[0])
    plain, fast = (value_and_gradients(module, q, k, v, dy) for module in (ops, attention))
    (Tq, D), Tk = q.shape[2:], k.shape[2]
    sizes = [np.abs(x) for x in (q, k, v, dy)]
    _, P = ops.causal_attention(q, k, v)
    keys, values = (x.repeat(q.shape[1] // x.shape[1], axis=1) for x in sizes[1:3])
    e = gamma(D + 3, "float64") * (sizes[0] @ keys.swapaxes(-1, -2)).max() / math.sqrt(D)
    relative = 2 * e + gamma(3 * Tk + 3 * Tq + 2 * D + 20, "float64")
    dS = ops.causal_attention_dscores(sizes[3], sizes[2], -P @ values, P)
    size = {
        "y": P @ values,
        "dv": ops.causal_attention_dv(sizes[3], sizes[2], P),
        "dq": ops.causal_attention_dq(dS, sizes[0], sizes[1]),
        "dk": ops.causal_attention_dk(dS, sizes[0], sizes[1]),
    }
    for name, expected in plain.items():
        assert (np.abs(fast[name] - expected) <= 2 * 2 * relative * size[name]).all(), name


def test_attention_to_one_overwhelming_key_is_its_value():
    q, k, v = gaussian(0, *[(1, 1, 4, 2)] * 3)
    q[...], k[...], k[0, 0, 1] = 1e3, -1e3, 1e3
    np.testing.assert_array_equal(attention.causal_attention(q, k, v)[0][0, 0, 1:], v[0, 0, [1, 1, 1]])


# --------------------------------------------------------------------------------------- cross-entropy


@given(seeds, sides, sides)
def test_cross_entropy_is_minus_the_log_of_the_softmax(seed, n, V):
    (logits,) = gaussian(seed, (n, V))
    targets = np.random.default_rng(seed).integers(V, size=n)
    nll, P = ops.cross_entropy(logits, targets)
    assert_within(nll, f.cross_entropy(exactly(logits), targets))
    assert_within(P, f.softmax(exactly(logits)))


def test_cross_entropy_of_huge_logits_is_finite():
    nll, _ = ops.cross_entropy(np.array([[1e4, 0.0], [1e4, 0.0]]), np.array([0, 1]))
    np.testing.assert_array_equal(nll, [0, 1e4])


@given(seeds, sides, sides)
def test_cross_entropy_derivative(seed, n, V):
    logits, weights = gaussian(seed, (n, V), (n,))
    targets = np.random.default_rng(seed).integers(V, size=n)
    _, P = ops.cross_entropy(logits, targets)
    gradient, nll = ops.cross_entropy_dlogits(P, targets, weights), f.cross_entropy(exactly(logits), targets)
    assert_derivatives(lambda: ops.cross_entropy(logits, targets)[0], weights, nll, (gradient, logits))


# --------------------------------------------------------------------------------------------- dropout


@given(seeds, st.floats(0, 0.9))
def test_a_dropout_mask_keeps_or_drops_and_the_seed_decides(seed, p):
    masks = [ops.dropout_mask((3, 4), p, np.random.default_rng(seed), like=np.ones(1)) for _ in range(2)]
    assert set(masks[0].ravel()) <= {0.0, 1 / (1 - p)}
    assert ops.dropout_mask((1,), p, np.random.default_rng(seed), like=np.ones(1, "float32")).dtype == "float32"
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_dropout_mask_has_mean_one(p):
    n = 100_000
    mask = ops.dropout_mask((n,), p, np.random.default_rng(0), like=np.ones(1))
    deviation = math.sqrt(p / (1 - p) / n)  # an entry's variance is (1 - p) / (1 - p)^2 - 1 = p / (1 - p)
    assert abs(mask.mean() - 1) <= 5 * deviation


# ----------------------------------------------------------------------------------------- all of them


def arrays_in(value) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    moved([value], found.append)
    return found


def test_every_op_has_a_case():
    functions = {
        function
        for module in (ops, attention)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    elsewhere = {attention.query_blocks, ops.dropout_mask}  # the one takes no array, the other a generator
    assert functions - elsewhere == {function for function, _ in cases("float64").values()}


@pytest.mark.parametrize("name", cases("float64"))
def test_an_op_is_pure(name):
    """It cannot write to its inputs, and its results are arrays of their own."""
    function, arguments = cases("float64")[name]
    inputs = arrays_in(arguments)
    for array in inputs:
        array.setflags(write=False)
    for result in arrays_in(function(*arguments)):
        assert not any(np.shares_memory(result, array) for array in inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases("float64"))
def test_an_op_keeps_the_precision_that_it_is_given(name, dtype):
    function, arguments = cases(dtype)[name]
    assert {a.dtype.name for a in arrays_in(function(*arguments))} == {dtype}
