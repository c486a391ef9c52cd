"""Sums of adapters are exact, and compression loses exactly the tail of the spectrum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import LoraConfig, add_lora
from minilora.adapters.arithmetic import compress, update_svd, weighted_sum
from minilora.adapters.bank import AdapterBank
from minilora.files.adapter import Adapter, adapter_of, read_adapter, write_adapter
from minilora.testing.bounds import gamma
from tests.models import TINY, adapted, batch, gpt, scramble, seeds

CONFIGS = (
    LoraConfig(r=2, lora_alpha=3, target_modules=("q_proj", "v_proj")),
    LoraConfig(r=3, lora_alpha=-2, target_modules=("q_proj", "up_proj", "wte"), use_rslora=True),
    LoraConfig(r=1, target_modules=("down_proj", "q_proj"), rank_pattern={"q_proj": 9}, alpha_pattern={"q_proj": 1}),
)
configs = st.sampled_from(CONFIGS)
weights = st.floats(-4, 4, allow_subnormal=False).map(lambda w: w if abs(w) > 1e-6 else 0.0)  # no underflow


def adapter(config: LoraConfig, seed: int = 0) -> Adapter:
    """A trained adapter of gpt(), whose own weights are left as they are."""
    return adapter_of(adapted(gpt(), config, seed))


def update(a: Adapter, path: str) -> np.ndarray:
    """s B A, or 0 where the adapter has none."""
    if path not in a.paths:
        return np.zeros(())
    return a.lora.scaling(path) * a.tensors[f"{path}.lora_B"] @ a.tensors[f"{path}.lora_A"]


def update_size(a: Adapter, path: str) -> np.ndarray:
    """|s| |B| |A|: what the roundings of the update are relative to."""
    return np.abs(update(replace(a, tensors={n: np.abs(t) for n, t in a.tensors.items()}), path))


@given(parts=st.lists(st.tuples(configs, seeds, weights), min_size=1, max_size=4))
def test_a_sum_is_the_sum_of_the_updates(parts):
    adapters = [adapter(config, seed) for config, seed, _ in parts]
    total = weighted_sum(adapters, [weight for *_, weight in parts])
    assert set(total.paths) == {path for a in adapters for path in a.paths}
    for path in total.paths:
        r = sum(a.lora.rank(path) for a in adapters if path in a.paths)
        assert total.lora.rank(path) == r == len(total.tensors[f"{path}.lora_A"])
        expected = sum(w * update(a, path) for a, (*_, w) in zip(adapters, parts, strict=True))
        size = sum(abs(w) * update_size(a, path) for a, (*_, w) in zip(adapters, parts, strict=True))
        # Either way a term meets the sum over r and at most four products and additions of the parts.
        assert (np.abs(update(total, path) - expected) <= 2 * gamma(r + 4 + len(parts), "float64") * size).all()


def test_a_sum_with_powers_of_two_keeps_every_bit():
    a, b = (adapter(LoraConfig(r=2, lora_alpha=4), seed) for seed in (1, 2))  # scaling 2
    total = weighted_sum([a, b], [0.5, -4])
    for name in a.tensors:
        axis = 0 if name.endswith("lora_A") else 1
        factors = (1, 1) if axis == 0 else (1, -8)
        parts = [factor * part.tensors[name] for factor, part in zip(factors, (a, b), strict=True)]
        np.testing.assert_array_equal(total.tensors[name], np.concatenate(parts, axis=axis))


def test_a_sum_is_an_adapter_like_any_other(tmp_path):
    """It goes through a file into a bank, and gives the same model as its parts together."""
    a, b = adapter(CONFIGS[0], 1), adapter(CONFIGS[1], 2)
    write_adapter(weighted_sum([a, b], [1, 1]), tmp_path / "sum.npz")
    bank = AdapterBank(gpt())
    for name, part in (("a", a), ("b", b), ("sum", read_adapter(tmp_path / "sum.npz"))):
        bank.insert(name, part)
    apart, summed = bank.view("a", "b")(batch()[0]), bank.view("sum")(batch()[0])
    # A different order of a few hundred additions in float64.
    assert np.abs(apart - summed).max() <= gamma(1000, "float64") * np.abs(apart).max()


@given(config=configs, seed=seeds, r=st.integers(1, 5))
def test_compression_loses_the_tail_of_the_spectrum(config, seed, r):
    """The error is measured on the d x k updates themselves, with NumPy's own SVD of them."""
    whole = adapter(config, seed)
    smaller, lost = compress(whole, r)
    for path in whole.paths:
        dW = update(whole, path)
        sigma = np.linalg.svd(dW, compute_uv=False)
        # QR, SVD and products each err by a modest multiple of (d + k) eps sigma_1 (LAPACK Users' Guide, 4.9).
        rounding = 16 * sum(dW.shape) * np.finfo(np.float64).eps * sigma[0]
        error, tail = np.linalg.norm(dW - update(smaller, path)), np.linalg.norm(sigma[r:])
        assert abs(error - tail) <= rounding and abs(lost[path].error - tail) <= rounding
        assert abs(lost[path].norm - np.linalg.norm(dW)) <= rounding
        assert smaller.lora.rank(path) == lost[path].rank == min(r, whole.lora.rank(path), *dW.shape)


@given(r=st.integers(1, 12), d=st.integers(1, 9), k=st.integers(1, 9), seed=seeds)
def test_the_thin_svd_is_the_svd(r, d, k, seed):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((r, k)), rng.standard_normal((d, r))
    U, sigma, Vt = update_svd(A, B)
    n = min(r, d, k)
    rounding = 16 * (d + k + r) * np.finfo(np.float64).eps * np.linalg.norm(A) * np.linalg.norm(B)
    assert U.shape == (d, len(sigma)) and Vt.shape == (len(sigma), k) and len(sigma) == n
    assert np.abs(U * sigma @ Vt - B @ A).max() <= rounding
    assert np.abs(sigma[:n] - np.linalg.svd(B @ A, compute_uv=False)[:n]).max() <= rounding
    assert np.abs(U.T @ U - np.eye(len(sigma))).max() <= 16 * (d + r) * np.finfo(np.float64).eps


def test_compressing_a_sum_of_equal_adapters_gives_one_of_them_back():
    a = adapter(CONFIGS[0], 3)
    halves = weighted_sum([a, a], [0.5, 0.5])
    back, lost = compress(halves, 2)
    for path in a.paths:
        assert halves.lora.rank(path) == 4 and back.lora.rank(path) == 2
        rounding = 16 * sum(update(a, path).shape) * np.finfo(np.float64).eps * lost[path].norm
        assert np.abs(update(back, path) - update(a, path)).max() <= rounding and lost[path].error <= rounding


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda a: weighted_sum([], []), "at least one"),
        (lambda a: weighted_sum([a], [1, 2]), "1 adapters and 2 weights"),
        (lambda a: weighted_sum([a], [float("nan")]), "finite"),
        (lambda a: weighted_sum([a, replace(a, base_sha256="0")], [1, 1]), "different bases"),
        (lambda a: weighted_sum([replace(a, lora=replace(a.lora, bias="all"))], [1]), "trained biases"),
        (lambda a: compress(replace(a, lora=replace(a.lora, bias="all")), 1), "trained biases"),
        (lambda a: compress(a, 0), "at least 1"),
    ],
)
def test_what_has_no_meaning_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(adapter(CONFIGS[0]))


def test_numpy_weights_keep_the_precision_and_the_sum_can_be_saved(tmp_path):
    model = scramble(add_lora(gpt(replace(TINY, dtype="float32")), LoraConfig(r=2)))
    both = weighted_sum([adapter_of(model)] * 2, np.array([0.5, 0.5]))
    assert {array.dtype.name for array in both.tensors.values()} == {"float32"}
    write_adapter(both, tmp_path / "a.npz")
    assert read_adapter(tmp_path / "a.npz").paths == both.paths
