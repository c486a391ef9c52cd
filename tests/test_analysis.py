"""The paper's measures of an update, against their definitions, laws and controls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import analysis
from minilora.exercises.catalogue import ex36_forgetting
from minilora.methods.subspace import RandomSubspace, fit_in_subspace
from minilora.testing.bounds import unit_roundoff
from tests.models import TINY, bits, gpt, seeds

u = unit_roundoff("float64")


def orthonormal(rng, k, r):
    return np.linalg.qr(rng.standard_normal((k, r)))[0]


# --------------------------------------------------------------------------------------- spectra and bytes


def test_singular_values_count_the_rank_of_an_update():
    rng = np.random.default_rng(0)
    B, A = rng.standard_normal((9, 3)), rng.standard_normal((3, 7))
    sigma = analysis.singular_values(B @ A)
    assert sigma.shape == (7,) and (np.diff(sigma) <= 0).all()
    # LAPACK's error is a modest multiple, below max(d, k), of eps times the largest singular value.
    assert sigma[2] > 0.1 and sigma[3] < 9 * np.finfo(np.float64).eps * sigma[0]
    assert analysis.energy_share(sigma, 3) == 1.0
    assert analysis.rank_for_energy(sigma, 1 - 1e-9) == 3


def test_energy_and_rank_of_a_known_spectrum():
    sigma = np.array([4.0, 2.0, 2.0, 1.0])  # squares 16, 4, 4, 1 of 25
    assert [analysis.energy_share(sigma, r) for r in (1, 2, 3, 4)] == [16 / 25, 20 / 25, 24 / 25, 1]
    assert [analysis.rank_for_energy(sigma, share) for share in (0.5, 0.64, 0.65, 0.9, 1.0)] == [1, 1, 2, 3, 4]


def test_the_control_has_the_updates_shape_and_norm():
    dW = np.arange(12.0).reshape(3, 4)
    control = analysis.gaussian_control(dW, np.random.default_rng(0))
    assert control.shape == dW.shape
    # Two norms of 12 terms, a quotient and a product: fewer than 40 roundings in all.
    assert abs(np.linalg.norm(control) / np.linalg.norm(dW) - 1) < 40 * u


def test_counting_bytes_leaves_the_model_alone():
    model, tokens = gpt(), np.zeros((1, 4), dtype=int)
    before = bits(model)
    assert analysis.training_bytes(model, tokens, tokens).total == 4 * 8 * TINY.parameter_count
    assert bits(model) == before


def test_an_update_of_zero_has_no_directions_and_lacks_none():
    assert analysis.rank_for_energy(np.zeros(3)) == 0 and analysis.energy_share(np.zeros(3), 1) == 1


# ------------------------------------------------------------------------------------- subspace similarity


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.integers(4, 9))
def test_phi_is_the_papers_equation_4_and_within_0_and_1(seed, r1, r2, k):
    rng = np.random.default_rng(seed)
    A1, A2 = rng.standard_normal((r1, k)), rng.standard_normal((r2, k))
    grid = analysis.similarity_grid(A1, A2)
    assert grid.shape == (r1, r2)
    U1, U2 = (np.linalg.svd(A.T, full_matrices=False)[0] for A in (A1, A2))
    # Two SVDs, of A and of A^T, may turn the leading directions by p u ||A||^2 / gap^2, p = 20 k r being generous.
    gaps = [-np.diff(np.linalg.svd(A, compute_uv=False), append=0).max() for A in (A1, A2)]
    turn = sum((np.linalg.norm(A) / gap) ** 2 for A, gap in zip((A1, A2), gaps, strict=True))
    for i in range(1, r1 + 1):
        for j in range(1, r2 + 1):
            expected = np.linalg.norm(U1[:, :i].T @ U2[:, :j], "fro") ** 2 / min(i, j)
            assert abs(grid[i - 1, j - 1] - expected) <= 20 * k * max(r1, r2) * u * turn
            assert analysis.subspace_similarity(A1, A2, i, j) == grid[i - 1, j - 1]
    assert (grid >= 0).all() and (grid <= 1 + 100 * k * u).all()
    assert np.allclose(grid, analysis.similarity_grid(A2, A1).T, rtol=0, atol=100 * k * u)


def test_phi_of_subspaces_that_are_known():
    rng = np.random.default_rng(0)
    Q = orthonormal(rng, 8, 8)
    scale = np.diag([4.0, 3.0, 2.0, 1.0])
    A = scale @ Q[:, :4].T
    assert analysis.subspace_similarity(A, A, 4, 4) == pytest.approx(1, abs=100 * u)
    assert analysis.subspace_similarity(A, A, 2, 4) == pytest.approx(1, abs=100 * u), "one contains the other"
    assert analysis.subspace_similarity(A, scale @ Q[:, 4:].T, 4, 4) == pytest.approx(0, abs=100 * u)
    half = np.diag([2.0, 1.0]) @ np.stack([Q[:, 0], Q[:, 5]])
    assert analysis.subspace_similarity(A, half, 4, 2) == pytest.approx(0.5, abs=100 * u)


def test_random_subspaces_are_as_similar_as_stated():
    rng = np.random.default_rng(0)
    i, j, k, draws = 3, 5, 20, 400
    pairs = [(rng.standard_normal((i, k)), rng.standard_normal((j, k))) for _ in range(draws)]
    phi = [analysis.subspace_similarity(one, other, i, j) for one, other in pairs]
    # Five standard errors of the mean: one chance in a million, and the seed is fixed.
    assert abs(np.mean(phi) - analysis.random_similarity(i, j, k)) < 5 * np.std(phi) / draws**0.5


def test_subspaces_of_different_spaces_are_refused():
    with pytest.raises(ValueError, match=r"same R\^k"):
        analysis.similarity_grid(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="i is 3"):
        analysis.subspace_similarity(np.eye(2, 4), np.eye(2, 4), 3, 1)


# ----------------------------------------------------------------------------------- projections, amplification


@given(seeds, st.integers(1, 3))
def test_amplification_of_directions_that_are_known(seed, r):
    """W has singular values w_i and dW has s_i, along the same directions: the factor is ||s|| / ||w of those||."""
    rng = np.random.default_rng(seed)
    U, V = orthonormal(rng, 7, 5), orthonormal(rng, 6, 5)
    w, s = np.array([5.0, 4.0, 3.0, 2.0, 1.0]), np.array([0.0, 0.0, 3.0, 2.0, 1.0])
    s[2 + r :] = 0  # dW has rank r, in directions that W holds as its third and after
    W, dW = (U * w) @ V.T, (U * s) @ V.T
    expected = np.linalg.norm(w[2 : 2 + r])
    # Gaps and the least singular value are 1, norms below 8: turned by less than 100 u, generous for 7 x 6.
    assert analysis.projection_norm(W, dW, r) == pytest.approx(expected, rel=1000 * u)
    assert analysis.amplification_factor(W, dW, r) == pytest.approx(np.linalg.norm(s) / expected, rel=1000 * u)
    assert analysis.projection_norm(W, W, r) == pytest.approx(np.linalg.norm(w[:r]), rel=1000 * u)
    assert analysis.projection_norm(W, W, 5) == pytest.approx(np.linalg.norm(W), rel=1000 * u)


def test_no_random_directions_hold_more_of_w_than_its_own():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((9, 8))
    random = [analysis.projection_norm(W, rng.standard_normal(W.shape), 3) for _ in range(20)]
    assert max(random) < analysis.projection_norm(W, W, 3)
    with pytest.raises(ValueError, match="is 9: give a whole number, 1 to"):
        analysis.projection_norm(W, W, 9)


# -------------------------------------------------------------------------------------- intrinsic dimension


@given(seeds, st.integers(1, 40), st.data())
def test_the_random_subspace_is_orthonormal_and_its_gradient_the_transpose(seed, D, data):
    m = data.draw(st.integers(1, D))
    rng = np.random.default_rng(seed)
    subspace = RandomSubspace(D, m, rng)
    P = np.stack([subspace.expand(e) for e in np.eye(m)], axis=1)
    assert P.shape == (D, m)
    # Each diagonal entry sums at most D squares, each with two roundings.
    assert np.abs(P.T @ P - np.eye(m)).max() <= (D + 4) * u
    g = rng.standard_normal(D)
    assert np.abs(subspace.project(g) - P.T @ g).max() <= 2 * D * u * np.linalg.norm(g)


def tiny_model():
    return ml.GPT(ml.GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8, dtype="float64"), seed=1)


DATA = ml.TextData(np.random.default_rng(0).integers(0, 3, size=400) * 3, 8)


def test_training_in_a_subspace_stays_in_it_and_learns():
    model = tiny_model()
    before = {name: p.data.copy() for name, p in model.named_parameters().items()}
    losses = fit_in_subspace(model, DATA, 20, steps=30, lr=0.3, batch_size=8, seed=3)
    moved = np.concatenate([(p.data - before[name]).ravel() for name, p in model.named_parameters().items()])
    subspace = RandomSubspace(len(moved), 20, np.random.default_rng([3, 20]))
    off = moved - subspace.expand(subspace.project(moved))
    assert np.linalg.norm(moved) > 0.1
    # theta0 + P z - theta0 rounds once a parameter at the size of theta0, below 2 each.
    assert np.abs(off).max() <= 8 * len(moved) * u
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


def test_a_subspace_of_all_dimensions_is_full_fine_tuning():
    """With m = D, P is a permutation with signs, to which Adam is blind: the same losses as `fit`."""
    one, other = tiny_model(), tiny_model()
    D = other.config.parameter_count
    losses = fit_in_subspace(one, DATA, D, steps=3, lr=1e-3, batch_size=4, seed=5)
    expected = ml.fit(other, DATA, steps=3, lr=1e-3, batch_size=4, seed=5, progress=False).losses
    # Equal but for the order of sums; Adam divides by sqrt(v) + 1e-8, which may magnify u by 1e8 at most.
    assert np.abs(np.array(losses) - expected).max() < 1e8 * u


@pytest.mark.parametrize("bad_from", [0, 2])
def test_a_subspace_in_which_training_diverges_is_left_at_the_last_good_weights(bad_from):
    """Steps below `bad_from` are good; the update of step `bad_from` is found at the end, or by the step after it."""
    for steps in (bad_from + 1, bad_from + 2):
        good, model = tiny_model(), tiny_model()
        fit_in_subspace(good, DATA, 20, steps=bad_from, lr=0.1, batch_size=4)
        with pytest.raises(ml.NonFiniteLossError), np.errstate(all="ignore"):
            lr = lambda step: 0.1 if step < bad_from else 1e300  # noqa: E731
            fit_in_subspace(model, DATA, 20, steps=steps, lr=lr, batch_size=4)
        assert bits(model) == bits(good)


# ---------------------------------------------------------------------------------- intruders and forgetting


def test_directions_that_a_large_update_puts_on_top_are_intruders():
    rng = np.random.default_rng(0)
    U, V = orthonormal(rng, 12, 11), orthonormal(rng, 9, 9)
    W0 = U[:, :9] * np.arange(9, 0, -1) @ V.T
    assert analysis.intruder_dimensions(W0, W0, top=9) == 0
    new = U[:, 9:] @ V[:, 7:].T  # orthogonal to all of W0's left directions
    assert analysis.intruder_dimensions(W0, W0 + 0.5 * new, top=6) == 0, "too short to reach the top 6"
    assert analysis.intruder_dimensions(W0, W0 + 9 * new, top=1) == 1
    assert analysis.intruder_dimensions(W0, W0 + 9 * new, top=6) == 2
    own = W0 + 20 * U[:, 8:9] @ V[:, 8:].T  # one of W0's own directions, made the largest
    assert analysis.intruder_dimensions(W0, own, top=6) == 0
    for W, top, message in ((W0.T, 6, "must have one shape"), (W0, 0, "top.* is 0"), (W0, 10, "top.* is 10")):
        with pytest.raises(ValueError, match=message):
            analysis.intruder_dimensions(W, W0, top=top)


@given(seeds)
def test_forgetting_at_a_level_is_what_the_exercise_asks_for(seed):
    rng = np.random.default_rng(seed)
    new, old = rng.uniform(1, 3, (2, int(rng.integers(1, 9))))
    for level in (*new, *rng.uniform(1, 3, 4)):
        assert analysis.forgetting_at(new, old, level) == ex36_forgetting.forgetting_at(new, old, level)


def test_forgetting_is_read_between_two_checkpoints():
    assert analysis.forgetting_at([3.0, 2.0, 1.0], [1.0, 1.5, 3.5], 1.5) == 1.5
    assert analysis.forgetting_at([3.0, 2.0], [1.0, 1.5], 3.0) == 0.0
    assert analysis.forgetting_at([3.0, 2.0], [1.0, 1.5], 1.9) is None


def test_d90_is_the_smallest_dimension_from_which_the_gain_holds():
    losses = {1: 3.0, 10: 2.05, 100: 2.15, 1000: 2.05, 10000: 2.0}
    assert analysis.dimension_for_share(losses, start=3.0, full=2.0) == 1000, "100 falls short, so 10 was luck"
    assert analysis.dimension_for_share(losses, start=3.0, full=2.0, share=0.8) == 10, "each of them keeps 80 %"
    assert analysis.dimension_for_share(losses, start=3.0, full=1.0) is None
    assert analysis.dimension_for_share({1: 20.0, 5: 28.0}, start=0.0, full=30.0) == 5, "a score that rises"
