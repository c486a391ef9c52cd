"""A variant of LoRA is one file: a layer, and a config that wraps with it.  Here one with a gain that trains."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import minilora as ml
from minilora.adapters import AdapterBank
from minilora.files.adapter import read_adapter
from minilora.lora import LoraCache, LoraLinear, lora_config
from minilora.nn import Parameter, accumulate
from minilora.testing.bounds import gamma
from tests.finite_differences import assert_gradient
from tests.models import adapted, batch, bits, gpt, loss_of, trainable


class GainLinear(LoraLinear):
    """y = x W0^T + b + g * scaling (x A^T) B^T with g (d,), 1 at first."""

    def __init__(self, base, config, rng, path=""):
        super().__init__(base, config, rng, path)
        self.lora_gain = Parameter(np.ones(len(self.lora_B.data), self.lora_B.data.dtype))

    def delta(self):
        return self.lora_gain.data[:, None] * super().delta()

    def forward(self, x, rng=None):
        y, base = self.base.forward(x, rng)
        if self.merged:
            return y, LoraCache(base, None)
        z, branch = self.branch(x, rng)
        return y + self.lora_gain.data * z, LoraCache(base, (z, branch))

    def backward(self, dy, cache, grads, need_dx=True):
        z, branch = cache.branch
        accumulate(grads, self.lora_gain, (dy * z).sum(axis=(0, 1)))
        dx = self.base.backward(dy, cache.base, grads, need_dx)
        branch_dx = self.branch_backward(dy * self.lora_gain.data, branch, grads, need_dx)
        return dx if dx is None else dx + branch_dx


@dataclass(frozen=True)
class GainConfig(ml.LoraConfig):
    variant: ClassVar[str] = "gain"

    def wrap(self, layer, rng, path):
        return GainLinear(layer, self, rng, path)

    def shapes(self, path, d, k):
        return {**super().shapes(path, d, k), f"{path}.lora_gain": (d,)}


CONFIG = GainConfig(r=2, lora_alpha=2, target_modules=("q_proj", "down_proj"))


def trained():
    return adapted(gpt(), CONFIG)


def test_its_own_parameters_train_and_its_gradients_are_the_central_differences():
    model, (tokens, targets, weights) = trained(), batch()
    loss, grads = ml.loss_and_grads(model, tokens, targets, weights)
    rounding = gamma(1000, "float64") * loss  # no number in the loss has gone through more operations than that
    paths = [f"blocks.{i}.{layer}" for i in range(2) for layer in ("attn.q_proj", "mlp.down_proj")]
    names = [f"{path}.lora_{kind}" for path in paths for kind in ("A", "B", "gain")]
    assert sorted(grads) == sorted(names)
    for name, array in trainable(model).items():
        assert_gradient(grads[name], lambda: loss_of(model, tokens, targets, weights), array, rounding)


def test_the_verbs_work_on_it():
    model, tokens = trained(), batch()[0]
    before, logits = bits(model), model(tokens)
    np.testing.assert_allclose(ml.merge(model)(tokens), logits, rtol=1e-12)
    assert bits(ml.unmerge(model)) == before
    assert bits(ml.remove_lora(model)) == bits(gpt())


def test_files_name_it(tmp_path):
    model = trained()
    ml.save_adapter(model, tmp_path / "adapter.npz")
    ml.save_model(model, tmp_path / "model.npz")
    for again in (ml.load_adapter(gpt(), tmp_path / "adapter.npz"), ml.load_model(tmp_path / "model.npz")):
        assert type(lora_config(again)) is GainConfig
        assert bits(again) == bits(model)
    with pytest.raises(ml.CheckpointError, match="the model has LoraConfig"):
        ml.load_adapter(ml.add_lora(gpt(), ml.LoraConfig(r=2)), tmp_path / "adapter.npz")


def test_where_it_is_unknown_it_is_refused_by_name(tmp_path, monkeypatch):
    ml.save_adapter(trained(), tmp_path / "adapter.npz")
    monkeypatch.delitem(ml.LoraConfig.variants, "gain")
    with pytest.raises(ml.CheckpointError, match="variant 'gain': this minilora knows lora"):
        ml.load_adapter(gpt(), tmp_path / "adapter.npz")


def test_a_bank_refuses_it_by_name(tmp_path):
    ml.save_adapter(trained(), tmp_path / "adapter.npz")
    with pytest.raises(ValueError, match="'a' is of the variant 'gain': a bank holds plain LoRA only"):
        AdapterBank(gpt()).insert("a", read_adapter(tmp_path / "adapter.npz"))
