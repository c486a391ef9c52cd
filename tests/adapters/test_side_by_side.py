"""Adapters trained side by side end as if each had been trained separately."""

from __future__ import annotations

import numpy as np
import pytest

from minilora import LoraConfig, LoraError, NonFiniteLossError, fit, loss_and_grads, ops
from minilora.adapters.bank import AdapterBank
from minilora.adapters.side_by_side import fit_side_by_side, loss_and_grads_side_by_side
from minilora.testing.bounds import gamma
from minilora.text import Batch
from tests.models import TINY, assert_same, batch, gpt

CONFIGS = {
    "a": LoraConfig(r=2, lora_alpha=3, target_modules=("q_proj", "v_proj"), lora_dropout=0.2),
    "b": LoraConfig(r=3, lora_alpha=2, target_modules=("up_proj", "o_proj")),
    "c": LoraConfig(r=1, lora_alpha=2, target_modules=("1.mlp.down_proj",), lora_dropout=0.5),
}
UPPER = {name: LoraConfig(r=2, target_modules=("1.attn.q_proj", "1.mlp.up_proj")) for name in "abc"}
WTE = {**CONFIGS, "b": LoraConfig(r=3, target_modules=("wte", "q_proj"))}


def bank_of(configs: dict[str, LoraConfig]) -> AdapterBank:
    """Adapters over gpt(), none of them at B = 0; the last is a child of another."""
    bank = AdapterBank(gpt())
    bank.add_adapter("root", LoraConfig(r=1, target_modules=("q_proj", "down_proj")))
    for seed, (name, config) in enumerate(configs.items()):
        bank.add_adapter(name, config, seed, parent="root" if name == "c" else None)
    for seed, name in enumerate(bank.adapters):
        for array in bank.adapter(name).tensors.values():
            array += 0.1 * np.random.default_rng(seed).standard_normal(array.shape)
    return bank


def copies(bank: AdapterBank, *names: str) -> dict[str, np.ndarray]:
    """What these adapters hold now."""
    return {f"{name} {n}": a.copy() for name in names for n, a in bank.adapter(name).tensors.items()}


TEXT = np.random.default_rng(0).integers(TINY.vocab_size, size=60)


def batches(equal: bool) -> dict[str, Batch]:
    return {name: Batch(*batch(seed=0 if equal else seed, B=5)) for seed, name in enumerate("abc")}


# What one sum of n terms may err, relative to its terms; a loss or gradient here is a few dozen such sums deep, each
# over at most 4 C = 24 or B T = 20 terms, and none of them loses its leading digits.
ROUNDING = gamma(64 * 24, "float64")


@pytest.mark.parametrize("configs", [CONFIGS, UPPER, WTE], ids=["everywhere", "upper block", "with wte"])
@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
def test_losses_and_gradients_are_those_of_training_alone(configs, equal, dropout):
    bank, streams = bank_of(configs), batches(equal)

    def rng(name):
        return np.random.default_rng(ord(name)) if dropout else None

    rngs = {name: rng(name) for name in streams} if dropout else None
    losses, grads = loss_and_grads_side_by_side(bank, streams, rngs)
    for name, stream in streams.items():
        loss, alone = loss_and_grads(bank.view(name), *stream, rng=rng(name))
        assert abs(losses[name] - loss) <= ROUNDING * loss
        assert grads[name].keys() == alone.keys() and alone
        for parameter, g in alone.items():
            assert np.abs(grads[name][parameter] - g).max() <= ROUNDING * np.abs(g).max()
            assert np.abs(g).max() > 0


@pytest.mark.parametrize("equal", [False, True])
def test_training_ends_where_each_would_end_alone(equal):
    """Adam divides by at least eps = 1e-8, so a gradient that errs by e moves a weight by at most lr e / eps a step."""
    together, alone = bank_of(CONFIGS), bank_of(CONFIGS)
    rng = np.random.default_rng(1)
    data = {name: TEXT if equal else rng.integers(TINY.vocab_size, size=60) for name in CONFIGS}
    lr = {"a": 0.01, "b": 0.002, "c": 0.03}
    results = fit_side_by_side(together, data, steps=4, lr=lr, batch_size=5, clip=0.1, seed=3, progress=False)
    for name, stream in data.items():
        before = copies(alone, name)
        result = fit(alone.view(name), stream, steps=4, lr=lr[name], batch_size=5, clip=0.1, seed=3, progress=False)
        np.testing.assert_allclose(results[name].losses, result.losses, rtol=4 * lr[name] * ROUNDING / 1e-8)
        for n, array in alone.adapter(name).tensors.items():
            moved = np.abs(array - before[f"{name} {n}"]).max()
            assert np.abs(together.adapter(name).tensors[n] - array).max() <= 4 * lr[name] * ROUNDING / 1e-8 < moved


def products(monkeypatch, run) -> dict[int, list[int]]:
    """The address of a weight's memory -> the number of rows in each product with it that `run`'s forward makes."""
    rows: dict[int, list[int]] = {}
    linear = ops.linear

    def counted(x, W, b=None):
        rows.setdefault(W.__array_interface__["data"][0], []).append(x.size // x.shape[-1])
        return linear(x, W, b)

    monkeypatch.setattr(ops, "linear", counted)
    run()
    monkeypatch.setattr(ops, "linear", linear)
    return rows


@pytest.mark.parametrize("equal", [False, True])
def test_frozen_products_are_shared(monkeypatch, equal):
    """One product per layer for all three adapters; equal streams are computed once until they diverge."""
    bank, streams = bank_of(UPPER), batches(equal)
    streams = {name: Batch(*(array[:2] for array in stream)) for name, stream in streams.items()}
    rows = products(monkeypatch, lambda: loss_and_grads_side_by_side(bank, streams))
    B, T = streams["a"].tokens.shape
    pieces = 2  # a batch of two rows is cut into two

    def seen(path: str) -> list[int]:
        return rows[bank.base.get_submodule(path).weight.data.__array_interface__["data"][0]]

    once, thrice = [B // pieces * T] * pieces, [3 * B // pieces * T] * pieces
    # "c" builds on "root", so it diverges in the first block; its q, k and v still have equal inputs.
    assert seen("blocks.0.attn.q_proj") == (once if equal else thrice)
    assert seen("blocks.0.attn.v_proj") == (once if equal else thrice)
    assert seen("blocks.0.mlp.up_proj") == thrice
    assert seen("blocks.1.attn.q_proj") == thrice
    del streams["c"]
    rows = products(monkeypatch, lambda: loss_and_grads_side_by_side(bank, streams))
    twice = [2 * B // pieces * T] * pieces
    for path in ("blocks.0.attn.q_proj", "blocks.0.mlp.down_proj", "blocks.1.attn.k_proj"):
        assert seen(path) == (once if equal else twice)
    assert seen("blocks.1.mlp.up_proj") == twice


def test_what_cannot_train_side_by_side_is_refused():
    bank, streams = bank_of(CONFIGS), batches(equal=False)
    with pytest.raises(ValueError, match="give all of them one"):
        loss_and_grads_side_by_side(bank, {**streams, "b": Batch(*batch(B=4))})
    with pytest.raises(LoraError, match="'root' has children"):
        loss_and_grads_side_by_side(bank, {"root": streams["a"]})
    with pytest.raises(ValueError, match="no adapter 'x'"):
        loss_and_grads_side_by_side(bank, {"x": streams["a"]})


def test_a_loss_that_is_not_finite_names_its_adapter_and_moves_nothing():
    bank = bank_of(CONFIGS)
    bank.adapter("b").tensors["blocks.0.mlp.up_proj.lora_B"][0, 0] = np.nan
    before = copies(bank, *CONFIGS)
    with pytest.raises(NonFiniteLossError, match="adapter 'b'"):
        fit_side_by_side(bank, dict.fromkeys(CONFIGS, TEXT), steps=1, batch_size=4, progress=False)
    assert_same(copies(bank, *CONFIGS), before)


def test_a_last_update_that_ruins_an_adapter_is_found_and_taken_back():
    bank = bank_of(CONFIGS)
    before = copies(bank, "b")
    lr = {"a": 0.01, "b": 1e300, "c": 0.01}
    with (
        pytest.raises(NonFiniteLossError, match="step 0, adapter 'b': its update leads to a loss of"),
        np.errstate(all="ignore"),
    ):
        fit_side_by_side(bank, dict.fromkeys(CONFIGS, TEXT), steps=1, lr=lr, batch_size=4, progress=False)
    assert_same(copies(bank, "b"), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"lr": -1}, "lr is -1"),
        ({"lr": {"a": 0.1}}, "lr lacks 'b'"),
        ({"clip": 0}, "give a number above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit_side_by_side(bank_of(CONFIGS), dict.fromkeys(CONFIGS, TEXT), **{"steps": 1, "progress": False, **options})
