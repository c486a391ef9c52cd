"""minilora.testing accepts correct implementations and names the law that a wrong one breaks; its bounds hold.

A check is only worth something if it fails when it should: `WRONG` lists the mistakes it must catch.
"""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from minilora import testing
from minilora.testing import laws
from minilora.testing.bounds import forward_error_bound, merge_error_bound, unmerge_drift_bound
from minilora.testing.check import check_lora
from minilora.testing.strategies import large_cases, lora_cases, small_cases

# The textbook implementation, and other correct ones.


def forward(x, W0, A, B, scaling):
    return x @ W0.T + scaling * (x @ A.T) @ B.T


def merge(W0, A, B, scaling):
    return W0 + scaling * (B @ A)


def unmerge(W, A, B, scaling):
    return W - scaling * (B @ A)


def backward(dy, x, W0, A, B, scaling):
    dx = dy @ W0 + scaling * (dy @ B) @ A
    return dx, scaling * (dy @ B).T @ x, scaling * dy.T @ (x @ A.T)


def fused_forward(x, W0, A, B, scaling):
    """One accumulator for both parts: [s x A^T, x] [B, W0]^T, one addition after the other."""
    left, right = np.hstack([x.dtype.type(scaling) * (x @ A.T), x]), np.hstack([B, W0])
    y = np.zeros((len(x), len(W0)), x.dtype)
    for column, weight in zip(left.T, right.T, strict=True):
        y = y + np.outer(column, weight)
    return y


def accumulating_forward(x, W0, A, B, scaling):
    """The base's product, to which the update is added in place."""
    y = x @ W0.T
    y += scaling * ((x @ A.T) @ B.T)
    return y


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


TEXTBOOK = {"forward": forward, "merge": merge, "unmerge": unmerge, "backward": backward}
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
    "base kept aside": {
        "forward": forward,
        "merge": (keeper := KeepsBase()).merge,
        "unmerge": keeper.unmerge,
        "exact_unmerge": True,
    },
}


@pytest.mark.parametrize("functions", RIGHT.values(), ids=RIGHT)
def test_right_implementations_keep_every_law(functions):
    check_lora(**functions)


# Wrong ones: what differs from the textbook, the law that must be named, what the message must contain.


def in_dtype(dtype, function):
    """The function, computed in another precision than its arguments have."""
    return lambda *arguments: function(*(dtype(value) for value in arguments))


def changing(**functions):
    return {**TEXTBOOK, **functions}


def float16_update_forward(x, W0, A, B, scaling):
    update = forward(x, 0 * W0, A, B, scaling)
    return x @ W0.T + np.clip(update, -6e4, 6e4).astype(np.float16)


def in_place_merge(W0, A, B, scaling):
    W0 += scaling * (B @ A)
    return W0


def scaled_backward(x_factor=0, A_factor=0, B_factor=0):
    """The textbook backward with the gradients multiplied by a power of the scaling."""

    def wrong(dy, x, W0, A, B, s):
        dx, dA, dB = backward(dy, x, W0, A, B, s)
        return dy @ W0 + (dx - dy @ W0) * s**x_factor, dA * s**A_factor, dB * s**B_factor

    return wrong


def swapping_backward(dy, x, W0, A, B, s):
    dx, dA, dB = backward(dy, x, W0, A, B, s)
    return (dx, dB, dA) if dA.shape == dB.shape else (dx, dA, dB)


def in_place_backward(dy, x, W0, A, B, s):
    dy *= s
    return dy @ W0 / s + dy @ B @ A, (dy @ B).T @ x, dy.T @ (x @ A.T)


def transposed_where_square(W0, A, B, s):
    BA = B @ A
    return W0 + s * (BA.T if len(W0) == len(W0.T) else BA)


FORWARD, GRADIENTS = "forward is equation 3", "gradients match finite differences"
REAL, MERGED = "results are real numbers", "merged equals unmerged"
DTYPES = ("float64", "float32")
MISSING, TWICE = "the scaling alpha / r is missing", "the scaling alpha / r is applied twice"
WRONG = {
    "forward without alpha / r": (changing(forward=lambda x, W0, A, B, s: forward(x, W0, A, B, 1.0)), FORWARD, MISSING),
    "forward and merge without alpha / r": (
        changing(
            forward=lambda x, W0, A, B, s: forward(x, W0, A, B, 1.0), merge=lambda W0, A, B, s: merge(W0, A, B, 1.0)
        ),
        FORWARD,
        MISSING,
    ),
    "forward scales twice": (changing(forward=lambda x, W0, A, B, s: forward(x, W0, s * A, B, s)), FORWARD, TWICE),
    "forward divides by s": (
        changing(forward=lambda x, W0, A, B, s: forward(x, W0, A, B, 1 / s)),
        FORWARD,
        "the scaling alpha / r divides",
    ),
    "forward without LoRA": (
        changing(forward=lambda x, W0, A, B, s: x @ W0.T),
        FORWARD,
        "the low-rank part is missing",
    ),
    "forward transposes B A": (
        changing(forward=lambda x, W0, A, B, s: x @ W0.T + s * x @ (B @ A)),
        "every case is accepted",
        "forward(...) raised ValueError: matmul",
    ),
    "forward transposes B A where it can": (
        changing(forward=lambda x, W0, A, B, s: x @ transposed_where_square(W0, A, B, s).T),
        FORWARD,
        "the low-rank part is transposed",
    ),
    "forward ignores A": (
        changing(forward=lambda x, W0, A, B, s: forward(x, W0, np.ones_like(A), B, s)),
        FORWARD,
        "A  = [[0.0]]",
    ),
    "forward right for r = 1 only": (
        changing(forward=lambda x, W0, A, B, s: forward(x, W0, A[:1], B[:, :1], s)),
        FORWARD,
        "n=1, d=1, k=1, r=2",
    ),
    "forward right for one row only": (
        changing(forward=lambda x, W0, A, B, s: forward(x[:1], W0, A, B, s) + np.zeros((len(x), 1))),
        "zero-init identity",
        "n=2, d=1, k=1, r=1",
    ),
    "forward in float32 inside": (
        changing(forward=in_dtype(np.float32, forward)),
        "zero-init identity",
        "float32 is used on the way",
    ),
    "forward rounds the update to float16": (
        changing(forward=float16_update_forward),
        FORWARD,
        "float16 is used on the way",
    ),
    "forward returns NaN": (changing(forward=lambda *a: forward(*a) * np.nan), "zero-init identity", "got nan"),
    "forward adds a bias": (changing(forward=lambda *a: forward(*a) + 1), "zero-init identity", "got 1.0"),
    "forward transposed": (changing(forward=lambda *a: forward(*a).T), "shapes fit", "forward(...) has shape"),
    "forward not the base's to the bit": (
        changing(base_forward=lambda x, W0: (x @ W0.T) * x.dtype.type(1 + 2e-7)),
        "zero-init identity",
        "the bound is 0",
    ),
    "merge without alpha / r": (
        changing(merge=lambda W0, A, B, s: merge(W0, A, B, 1.0)),
        "merged equals unmerged",
        MISSING,
    ),
    "merge transposes B A where it can": (
        changing(merge=transposed_where_square),
        "merged equals unmerged",
        "the low-rank part is transposed",
    ),
    "merge in place": (changing(merge=in_place_merge), "inputs are left alone", "merge(...) changed its argument W0"),
    "merge with too high a rank": (
        changing(merge=lambda W0, A, B, s: merge(W0, A, B, s) + 0.001 * np.eye(*W0.shape)),
        "rank(dW) <= r",
        "singular value 2",
    ),
    "merge in float32 inside": (changing(merge=in_dtype(np.float32, merge)), "rank(dW) <= r", "float64"),
    "unmerge forgets alpha / r": (
        changing(unmerge=lambda W, A, B, s: unmerge(W, A, B, 1.0)),
        "unmerge restores",
        MISSING,
    ),
    "unmerge does nothing": (
        changing(unmerge=lambda W, A, B, s: W),
        "unmerge restores",
        "the low-rank part is missing",
    ),
    "unmerge adds": (changing(unmerge=merge), "unmerge restores", "the low-rank part has the wrong sign"),
    "base kept aside without a copy": (
        changing(merge=(keeper := KeepsBase(copied=False)).merge, unmerge=keeper.unmerge, exact_unmerge=True),
        "unmerge restores",
        "the low-rank part is missing",
    ),
    "dA without scaling": (changing(backward=scaled_backward(A_factor=-1)), GRADIENTS, f"dA of*{MISSING}"),
    "dB without scaling": (changing(backward=scaled_backward(B_factor=-1)), GRADIENTS, f"dB of*{MISSING}"),
    "dB scaled twice": (changing(backward=scaled_backward(B_factor=1)), GRADIENTS, f"dB of*{TWICE}"),
    "dx without scaling": (changing(backward=scaled_backward(x_factor=-1)), GRADIENTS, f"dx of*{MISSING}"),
    "dx through LoRA only": (
        changing(backward=lambda dy, x, W0, A, B, s: backward(dy, x, 0 * W0, A, B, s)),
        GRADIENTS,
        "the base's part dy W0 is missing",
    ),
    "dA and dB swapped where they can be": (changing(backward=swapping_backward), GRADIENTS, "dA and dB are swapped"),
    "backward without dx": (changing(backward=lambda *a: backward(*a)[1:]), "shapes fit", "backward(...) has shape"),
    "backward returns nothing": (changing(backward=lambda *a: None), REAL, "backward(...) returned None"),
    "backward in place": (
        changing(backward=in_place_backward),
        "inputs are left alone",
        "backward(...) changed its argument dy",
    ),
}


@pytest.mark.parametrize(("functions", "law", "says"), WRONG.values(), ids=WRONG)
def test_wrong_implementations_break_the_expected_law(functions, law, says):
    with pytest.raises(AssertionError) as failure:
        check_lora(**functions)
    message = str(failure.value)
    assert message.startswith(f"law '{law}' is broken: ")
    for part in says.split("*"):
        assert part in message


def test_the_message_shows_the_smallest_case_and_the_error():
    with pytest.raises(AssertionError) as failure:
        check_lora(forward=forward, merge=lambda W0, A, B, scaling: W0 + B @ A)
    assert str(failure.value).splitlines() == [
        "law 'merged equals unmerged' is broken: x @ merge(...).T is not forward(x, ...)",
        "  expected 3.0, got 1.0 at [0, 0]",
        "  off by 2; the bound is 4.66e-15, exceeded 4.29e+14 times",
        "  likely: the scaling alpha / r is missing",
        "  example: n=1, d=1, k=1, r=1, alpha=3.0, scaling=3.0, float64",
        "    x  = [[1.0]]",
        "    W0 = [[0.0]]",
        "    A  = [[1.0]]",
        "    B  = [[1.0]]",
        "    dy = [[0.0]]",
    ]


def test_rounding_is_not_mistaken_for_a_slip():
    with pytest.raises(AssertionError, match="unmerge restores") as failure:
        check_lora(**TEXTBOOK, exact_unmerge=True)
    assert "the bound is 0" in str(failure.value) and "likely" not in str(failure.value)


def test_the_same_code_gets_the_same_cases():
    for cases, arguments in ((small_cases, (10, DTYPES)), (large_cases, (DTYPES,))):
        first = cases(*arguments)
        cases.cache_clear()
        for case, again in zip(first, cases(*arguments), strict=True):
            assert str(case) == str(again)
            assert all(np.array_equal(array, again.arrays[name]) for name, array in case.arrays.items())


def test_random_answers_are_rejected():
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="zero-init identity"):
        check_lora(forward=lambda x, *layer: forward(x * (rng.random(x.shape) < 0.5), *layer))


def test_what_follows_a_merge_is_refused_without_one():
    for missing in ({"unmerge": unmerge}, {"merged_forward": forward}):
        with pytest.raises(ValueError, match="give check_lora your merge too"):
            check_lora(forward=forward, **missing)


# In a user's own test file.


def test_the_readme_s_lines_leave_no_folder_and_no_noise(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "from minilora.testing import check_lora\n"
        "forward = lambda x, W0, A, B, s: x @ W0.T + s * (x @ A.T) @ B.T\n"
        "def test_right(): check_lora(forward=forward, max_examples=20)\n"
        "merge = lambda W0, A, B, s: W0 + B @ A\n"
        "def test_wrong(): check_lora(forward=forward, merge=merge, max_examples=20)\n"
    )
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    environment = {"PYTHONPATH": str(Path(testing.__file__).parents[2])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in run.stdout, run.stdout + run.stderr
    assert "law 'merged equals unmerged' is broken" in run.stdout
    assert "Falsifying" not in run.stdout and "small_cases" not in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]


def test_only_this_room_needs_hypothesis():
    package = "import sys; import minilora; assert not {'hypothesis', 'minilora.testing'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", package], check=True)


def test_laws_bounds_and_shrinking_work_without_hypothesis():
    parts = "import sys; from minilora.testing import laws, smallest; assert 'hypothesis' not in sys.modules"
    subprocess.run([sys.executable, "-c", parts], check=True)


@settings(max_examples=20, database=None, deadline=None)
@given(lora_cases())
def test_the_laws_work_under_a_given_of_ones_own(case):
    laws.zero_init_is_identity(case, forward)
    laws.forward_is_equation_3(case, forward)
    laws.update_has_rank_r(case, merge)
    laws.merged_equals_unmerged(case, forward, merge)
    laws.unmerge_restores(case, merge, unmerge, cycles=5)
    laws.gradients_match_finite_differences(case, forward, backward)


# The strategies.


def drawn(strategy, count):
    cases = []

    @settings(max_examples=count, database=None, deadline=None, derandomize=True)
    @given(strategy)
    def run(case):
        cases.append(case)

    run()
    return cases


def test_cases_cover_what_they_promise():
    cases = small_cases(200, DTYPES)
    shapes = [(*case.x.shape, case.W0.shape[0]) for case in cases]
    assert {n for n, _, _ in shapes} == {k for _, k, _ in shapes} == {d for _, _, d in shapes} == {1, 2, 3, 4}
    assert any(d == k > 1 for _, k, d in shapes) and any(d != k for _, k, d in shapes)
    assert any(case.r == 1 for case in cases) and any(case.r > min(case.W0.shape) for case in cases)
    assert {case.dtype for case in cases} == {np.dtype("float32"), np.dtype("float64")}
    entries = np.concatenate([array.ravel() for case in cases for array in case.arrays.values()])
    assert (entries == 0).any() and np.abs(entries).max() > 1e5 and np.isfinite(entries).all()
    columns = [np.abs(case.W0).max(axis=0) for case in cases]
    assert any(size.min() > 0 and size.max() > 1e6 * size.min() for size in columns)


def test_nothing_overflows_in_any_precision():
    for dtype in (np.float16, np.float32, np.float64):
        for case in drawn(lora_cases(max_side=6, dtype=dtype), 15):
            y = forward(case.x, *case.layer.values())
            assert y.dtype == dtype and np.isfinite(y).all()


# The bounds, against exact rational arithmetic.

ORDERS = {
    "s (x A^T)": forward,
    "(s B) A": lambda x, W0, A, B, s: x @ W0.T + (x @ A.T) @ (x.dtype.type(s) * B).T,
    "x (s A)^T": lambda x, W0, A, B, s: x @ W0.T + (x @ (x.dtype.type(s) * A).T) @ B.T,
    "merged": lambda x, W0, A, B, s: x @ merge(W0, A, B, s).T,
    "one accumulator": fused_forward,
}


def exact(array):
    """The array in rational arithmetic, which rounds nothing."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(array, np.float64))


def exact_forward(x, W0, A, B, scaling):
    return forward(exact(x), exact(W0), exact(A), exact(B), Fraction(scaling))


def random_layer(rng, dtype, decades, k=None):
    """x, W0, A, B, s whose entries spread over this many decades in either direction."""
    n, d, r = rng.integers(1, 6, 3)
    k = k or rng.integers(1, 12)

    def spread(*shape):
        powers = rng.uniform(-decades, decades, shape)
        return (rng.uniform(-1, 1, shape) * 10.0**powers).astype(dtype)

    return spread(n, k), spread(d, k), spread(r, k), spread(d, r), float(rng.uniform(0.1, 20))


def excess(got, right, bound):
    """max |got - right| / bound, in rational arithmetic."""
    return float(np.max(np.abs(exact(got) - right) / exact(bound)))


@pytest.mark.parametrize(("dtype", "decades"), [("float16", 0.5), ("float32", 6), ("float64", 6)])
def test_forward_and_merge_bounds_hold_in_every_order(dtype, decades):
    rng = np.random.default_rng(0)
    for _ in range(25):
        layer = random_layer(rng, dtype, decades)
        right, bound = exact_forward(*layer), forward_error_bound(*layer)
        outputs = [order(*layer) for order in ORDERS.values()]
        assert all(excess(y, right, bound) <= 1 for y in outputs)
        assert all(excess(y, exact(outputs[0]), merge_error_bound(*layer)) <= 1 for y in outputs)
        W0, A, B, s = layer[1:]
        W = merge(exact(W0), exact(A), exact(B), Fraction(s))
        assert excess(merge(W0, A, B, s), W, testing.merged_weight_bound(W0, A, B, s)) <= 1


@pytest.mark.parametrize(("dtype", "tiny"), [("float16", 1e-3), ("float32", 1e-16), ("float64", 1e-110)])
def test_bounds_hold_when_everything_underflows(dtype, tiny):
    rng, lost = np.random.default_rng(1), False
    for _ in range(10):
        x, W0, A, B, s = random_layer(rng, dtype, 0)
        layer = x, 0 * W0, (A * tiny).astype(dtype), (B * tiny).astype(dtype), s * tiny
        right = exact_forward(*layer)
        outputs = [order(*layer) for order in ORDERS.values()]
        assert all(excess(y, right, forward_error_bound(*layer)) <= 1 for y in outputs)
        lost |= any((y == 0).all() for y in outputs) and bool(right.any())
    assert lost  # an error of 100 %: no relative bound would have held


@pytest.mark.parametrize(("dtype", "decades"), [("float16", 0.5), ("float32", 3), ("float64", 3)])
@pytest.mark.parametrize("cycles", [1, 2, 50])
def test_drift_bound_holds(dtype, decades, cycles):
    rng = np.random.default_rng(2)
    for _ in range(20):
        _, W0, A, B, s = random_layer(rng, dtype, decades)
        W = W0
        for _ in range(cycles):
            W = unmerge(merge(W, A, B, s), A, W.dtype.type(s) * B, 1.0)  # not the same bits that merge added
        assert W.dtype == dtype
        assert excess(W, exact(W0), unmerge_drift_bound(W0, A, B, s, cycles)) <= 1


def test_the_forward_bound_is_within_eight_times_an_actual_error():
    """1 + 0.99 u + 0.99 u + ..., one after the other, stays 1: the error is 0.99 (k - 1) u."""
    k, u = 256, testing.unit_roundoff("float32")
    x, W0 = np.ones((1, k), np.float32), np.full((1, k), 0.99 * u, np.float32)
    W0[0, 0] = 1
    A, B = np.zeros((1, k), np.float32), np.zeros((1, 1), np.float32)
    error = np.sum(W0, dtype=np.float64) - fused_forward(x, W0, A, B, 1.0)
    assert error < forward_error_bound(x, W0, A, B, 1.0) < 8 * error


def test_the_drift_bound_is_within_sixteen_times_an_actual_drift():
    """(0.99 u + 1) - 1 is 0: all of W0 is lost in the first cycle."""
    u = testing.unit_roundoff("float32")
    W0, one = np.full((1, 1), 0.99 * u, np.float32), np.ones((1, 1), np.float32)
    assert unmerge(merge(W0, one, one, 1.0), one, one, 1.0) == 0
    assert W0 < unmerge_drift_bound(W0, one, one, 1.0) < 16 * W0


def test_a_relative_error_of_a_billionth_is_seen():
    """On a layer of ordinary size, the tolerances leave room only for rounding."""
    rng = np.random.default_rng(3)
    n, d, k, r = 4, 6, 5, 2
    shapes = (n, k), (d, k), (r, k), (d, r), (n, d)
    case = testing.LoraCase(*(rng.standard_normal(shape) for shape in shapes), alpha=4.0)
    off = 1 + 1e-9
    laws.gradients_match_finite_differences(case, forward, backward)
    for wrong in range(3):
        with pytest.raises(AssertionError, match=GRADIENTS):
            laws.gradients_match_finite_differences(
                case,
                forward,
                lambda *a, wrong=wrong: [g * off if i == wrong else g for i, g in enumerate(backward(*a))],
            )
    with pytest.raises(AssertionError, match="merged equals unmerged"):
        laws.merged_equals_unmerged(case, forward, lambda W0, A, B, s: merge(W0, A, B, s * off))
    with pytest.raises(AssertionError, match="rank"):
        laws.update_has_rank_r(case, lambda W0, A, B, s: merge(W0, A, B, s) + 1e-9 * np.eye(*W0.shape))
    with pytest.raises(AssertionError, match="unmerge restores"):
        laws.unmerge_restores(case, merge, lambda W, A, B, s: unmerge(W, A, B, s * off))


def test_the_rounding_laws_that_the_bounds_rely_on():
    for dtype, bits in (("float16", 11), ("float32", 24), ("float64", 53)):
        assert testing.unit_roundoff(dtype) == 2.0**-bits
    assert testing.gamma(1, "float16") == 1 / 2047
    with pytest.raises(ValueError, match="wider dtype"):
        testing.gamma(2048, "float16")
    ones = np.ones((1, 4099), np.float16)
    assert ones @ ones.T == 4100  # NumPy adds up float16 in float32: in float16, 2048 + 1 is 2048
