"""What minilora.testing says and which cases it makes; its bounds hold.  What it must catch is in `test_mutants`."""

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

# The textbook implementation, and one that adds in another order.


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


TEXTBOOK = {"forward": forward, "merge": merge, "unmerge": unmerge, "backward": backward}
GRADIENTS, DTYPES = "gradients match finite differences", ("float64", "float32")


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


@pytest.mark.parametrize("imported", ["import minilora", "from minilora.testing import laws, smallest"])
def test_only_the_cases_of_this_room_need_hypothesis(imported):
    """The laws, the bounds and the shrinking work without."""
    unneeded = "{'hypothesis', 'minilora.testing'}" if imported == "import minilora" else "{'hypothesis'}"
    check = f"import sys; {imported}; assert not {unneeded} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


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
