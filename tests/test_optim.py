"""Adam is Kingma and Ba's; clipping is one factor for all; the schedule warms up and cools down."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minilora import Adam, clip_grad_norm, warmup_cosine
from minilora.nn import Module, Parameter
from minilora.optim import global_norm
from minilora.testing.bounds import gamma
from tests.models import assert_same, bits, refused, seeds

settings = st.fixed_dictionaries(
    {
        "lr": st.floats(1e-4, 0.1),
        "weight_decay": st.just(0.0) | st.floats(0.01, 0.5),
        "betas": st.tuples(st.floats(0, 0.95), st.floats(0.5, 0.999)),
        "eps": st.sampled_from((1e-8, 1e-4)),
    }
)


class Two(Module):
    """A matrix and a vector."""

    def __init__(self, seed: int = 0, dtype: str = "float64") -> None:
        rng = np.random.default_rng(seed)
        self.W = Parameter(rng.standard_normal((3, 2)).astype(dtype))
        self.b = Parameter(rng.standard_normal(4).astype(dtype))
        self.assign_names()


def gradients(seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)} for _ in range(steps)]


def textbook_adam(w: float, gs: list[float], lr, weight_decay, betas, eps) -> tuple[float, float]:
    """Algorithm 1 of Kingma and Ba for one number, and how far two roundings of it may be apart.

    Step t's m and v are sums of t terms that meet at most 3 t + 1 roundings each. v's terms have one sign, so v is
    out by as much relative to itself; m is, relative to the same sum of |g|. The step itself has 10 more.
    """
    beta1, beta2 = betas
    m = v = m_size = error = 0.0
    for t, g in enumerate(gs, start=1):
        m = beta1 * m + (1 - beta1) * g
        m_size = beta1 * m_size + (1 - beta1) * abs(g)
        v = beta2 * v + (1 - beta2) * g * g
        root = math.sqrt(v / (1 - beta2**t)) + eps
        w -= lr * weight_decay * w + lr * m / (1 - beta1**t) / root
        step_size = lr * m_size / (1 - beta1**t) / root
        error += 2 * gamma(6 * t + 12, "float64") * (abs(w) + step_size)
    return w, error


@given(seeds, st.integers(1, 12), settings)
def test_adam_is_the_textbooks(seed, steps, options):
    model, grads = Two(seed), gradients(seed, steps)
    before = model.state_dict()
    optimizer = Adam(model, **options)
    for g in grads:
        optimizer.step(g)
    for name, after in model.state_dict().items():
        for i in np.ndindex(after.shape):
            expected, error = textbook_adam(float(before[name][i]), [float(g[name][i]) for g in grads], **options)
            assert abs(after[i] - expected) <= error


@given(seeds, st.integers(-20, 20))
def test_without_eps_adam_does_not_see_the_scale_of_the_gradients(seed, power):
    """Powers of two, which do not round: the same steps to the bit."""
    first, second = Two(seed), Two(seed)
    one, other = Adam(first, eps=0.0), Adam(second, eps=0.0)
    for g in gradients(seed, steps=3):
        one.step(g)
        other.step({name: array * 2.0**power for name, array in g.items()})
    assert bits(first) == bits(second)


@given(seeds)
def test_the_first_step_is_the_learning_rate_in_every_entry(seed):
    model, (grads,) = Two(seed), gradients(seed, steps=1)
    before = model.state_dict()
    Adam(model, lr=0.01, eps=0.0).step(grads)
    for name, after in model.state_dict().items():
        allowed = gamma(10, "float64") * (0.01 + np.abs(before[name]))
        assert (np.abs(after - (before[name] - 0.01 * np.sign(grads[name]))) <= allowed).all()


def test_a_parameter_without_a_gradient_does_not_move_and_has_no_state():
    model = Two()
    before = bits(model)
    optimizer = Adam(model, weight_decay=0.1)
    optimizer.step({"b": np.ones(4)})
    assert bits(model)["W"] == before["W"] and bits(model)["b"] != before["b"]
    assert optimizer.nbytes == 2 * model.b.nbytes


def test_the_gradients_are_left_alone():
    model, (grads,) = Two(), gradients(0, steps=1)
    for array in grads.values():
        array.setflags(write=False)
    Adam(model, weight_decay=0.1).step(grads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_works_in_the_parameters_precision(dtype):
    model = Two(dtype=dtype)
    optimizer = Adam(model, weight_decay=0.1)
    optimizer.step({name: g.astype(dtype) for name, g in gradients(0, steps=1)[0].items()})
    arrays = [*model.state_dict().values(), *optimizer.m.values(), *optimizer.v.values()]
    assert {array.dtype.name for array in arrays} == {dtype}


@given(seeds, st.integers(0, 3), st.integers(1, 3))
def test_a_saved_optimizer_goes_on_bit_for_bit(seed, before, after):
    whole, parts = Two(seed), Two(seed)
    one, first = Adam(whole), Adam(parts)
    grads = gradients(seed, before + after)
    for g in grads[:before]:
        one.step(g)
        first.step(g)
    second = Adam(parts)
    second.load_state_dict(first.state_dict())
    for g in grads[before:]:
        one.step(g)
        second.step(g)
    assert bits(whole) == bits(parts)


@pytest.mark.parametrize("name", ["unknown", "W"])
def test_a_gradient_of_no_trainable_parameter_is_refused_before_any_change(name):
    model = Two()
    model.W.trainable = False
    optimizer = Adam(model)
    with refused(model, f"{name} has a gradient but is not a trainable parameter"):
        optimizer.step({"b": np.ones(4), name: np.ones((3, 2))})
    assert optimizer.t == 0


NO_RATES = [-1, math.nan, math.inf, "0.1", None, True, np.zeros(2)]


@pytest.mark.parametrize("name", ["lr", "weight_decay", "eps"])
@pytest.mark.parametrize("value", NO_RATES, ids=repr)
def test_an_impossible_setting_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*: give a finite number of at least 0"):
        Adam(Two(), **{name: value})


def test_an_impossible_decay_of_the_averages_is_refused():
    with pytest.raises(ValueError, match=r"betas=.* must lie in \[0, 1\)"):
        Adam(Two(), betas=(0.9, 1))


@pytest.mark.parametrize("value", NO_RATES, ids=repr)
def test_a_learning_rate_that_is_none_is_refused_before_any_change(value):
    optimizer = Adam(model := Two())
    optimizer.lr = value
    with refused(model, r"lr is .*: give a finite number of at least 0"):
        optimizer.step({"b": np.ones(4)})
    assert optimizer.t == 0


def test_the_state_is_the_same_on_every_platform(monkeypatch):
    """Where NumPy's own integers have 32 bits, the step counter still has 64: a file's reader insists on them."""
    array = np.array
    monkeypatch.setattr(np, "array", lambda x, dtype=np.int32: array(x, dtype))
    assert Adam(Two()).state_dict()["t"].dtype == np.int64


# --------------------------------------------------------------------------------------------- clipping


@given(seeds, st.floats(1e-3, 10))
def test_clipping_scales_all_gradients_by_one_factor_down_to_the_norm(seed, max_norm):
    (grads,), (before,) = gradients(seed, steps=1), gradients(seed, steps=1)
    norm = clip_grad_norm(grads, max_norm)
    entries = np.concatenate([g.ravel() for g in before.values()])
    rounding = gamma(2 * entries.size + 10, "float64")
    assert abs(norm - math.sqrt(math.fsum(entries**2))) <= rounding * norm
    assert global_norm(grads) <= max_norm * (1 + 2 * rounding) or norm <= max_norm
    factor = min(1.0, max_norm / norm)
    for name, g in grads.items():
        np.testing.assert_allclose(g, factor * before[name], rtol=gamma(3, "float64"))


@given(seeds)
def test_clipping_leaves_every_bit_of_short_gradients(seed):
    (grads,), (before,) = gradients(seed, steps=1), gradients(seed, steps=1)
    clip_grad_norm(grads, math.inf)
    assert_same(grads, before)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e25), ("float32", 3e38), ("float64", 1e200)])
def test_the_squares_of_large_gradients_do_not_overflow(dtype, size):
    (grads,) = gradients(0, steps=1)
    largest = max(np.abs(g).max() for g in grads.values())
    grads = {name: (g / largest * size).astype(dtype) for name, g in grads.items()}
    before = {name: g.astype(np.longdouble) for name, g in grads.items()}
    norm, exact = clip_grad_norm(grads, 0.5), np.sqrt(sum((g**2).sum() for g in before.values()))
    rounding = gamma(2 * 10 + 10, dtype)
    assert abs(norm - exact) <= rounding * exact
    assert abs(global_norm(grads) - 0.5) <= 2 * rounding
    for name, g in grads.items():
        assert (np.abs(g - before[name] * (0.5 / exact)) <= 2 * rounding * np.abs(g)).all()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_gradients_that_are_not_finite_have_no_factor_and_stay(bad):
    grads = {"W": np.array([1.0, bad]), "b": np.ones(2)}
    assert not math.isfinite(clip_grad_norm(grads, 1.0))
    np.testing.assert_array_equal(np.concatenate(list(grads.values())), [1.0, bad, 1.0, 1.0])


@pytest.mark.parametrize("max_norm", [-1, 0, math.nan, "1", None, True], ids=repr)
def test_a_norm_that_no_gradient_can_be_clipped_to_is_refused(max_norm):
    grads = {"W": np.ones(2)}
    with pytest.raises(ValueError, match=r"give a number above 0, or math\.inf to clip nothing"):
        clip_grad_norm(grads, max_norm)
    np.testing.assert_array_equal(grads["W"], np.ones(2))


def test_no_gradients_have_norm_zero():
    assert clip_grad_norm({}, 1.0) == 0.0


# --------------------------------------------------------------------------------------------- schedule


@given(st.integers(2, 50), st.data(), st.floats(1e-4, 1), st.floats(0, 1))
def test_the_schedule_warms_up_to_lr_and_cools_down_to_min_lr(steps, data, lr, fraction):
    warmup = data.draw(st.integers(0, steps - 2))
    min_lr = lr * fraction
    rates = [warmup_cosine(step, steps, lr, warmup, min_lr) for step in range(steps)]
    rounding = gamma(10, "float64") * lr
    steps_up = zip([0, *rates], rates[:warmup], strict=False)
    assert all(b - a == pytest.approx(lr / warmup, abs=rounding) for a, b in steps_up)
    assert abs(rates[warmup] - lr) <= rounding and abs(rates[-1] - min_lr) <= rounding
    assert all(b <= a + rounding for a, b in zip(rates[warmup:], rates[warmup + 1 :], strict=False))


def test_half_way_down_the_cosine_is_the_middle():
    assert warmup_cosine(5, steps=11, lr=1.0, min_lr=0.5) == pytest.approx(0.75, abs=gamma(10, "float64"))


@given(st.integers(1, 20), st.integers(0, 30))
def test_a_warm_up_longer_than_the_run_stays_below_lr(steps, extra):
    assume(steps + extra > 0)
    assert warmup_cosine(steps - 1, steps, 1.0, warmup=steps + extra) <= 1.0
