"""Variants of LoRA: every verb, file and gradient that LoRA has, on both architectures; and what is each one's own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import LoraConfig, LoraError, methods, ops
from minilora.adapters import AdapterBank
from minilora.files.adapter import read_adapter
from minilora.lora import adapter_shapes, lora_config, lora_layers
from minilora.methods.method import method_of
from minilora.quantized import quantize
from minilora.testing.bounds import gamma
from tests.finite_differences import assert_gradient
from tests.models import TINY, TINY_LLAMA, batch, bits, configs, gpt, llama, loss_of

TARGETS = ("q_proj", "down_proj")
SETTINGS = {"r": 2, "lora_alpha": 3, "target_modules": TARGETS}
VARIANTS = {
    "dora": ml.DoraConfig(**SETTINGS),
    "dora, whole gradient": ml.DoraConfig(**SETTINGS, norm_gradient=True),
}


def with_long_rows(model):
    """Rows of W0 beside which a step of the central differences is short: DoRA divides by their length."""
    for path, layer in model.named_modules():
        if path.endswith(TARGETS):
            layer.weight.data *= 3
    return model


MODELS = {"gpt": lambda: with_long_rows(gpt()), "llama": lambda: with_long_rows(llama())}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
both = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def trained(config: LoraConfig, make=gpt, seed: int = 3):
    """A model with the variant, as if trained."""
    model, rng = ml.add_lora(make(), config), np.random.default_rng(seed)
    for parameter in model.named_parameters().values():
        if parameter.trainable:
            parameter.data += 0.1 * rng.standard_normal(parameter.shape)
    return model


def trainable(model) -> dict[str, np.ndarray]:
    return {name: p.data for name, p in model.named_parameters().items() if p.trainable}


# ------------------------------------------------------------------------------------------------ every variant


@both
@every_variant
def test_it_starts_as_the_base_bit_for_bit(config, make):
    tokens = batch()[0]
    np.testing.assert_array_equal(ml.add_lora(make(), config)(tokens), make()(tokens))


@pytest.mark.parametrize("name", ["dora"])
def test_the_count_from_shapes_is_what_trains(name):
    @given(configs(), st.integers(1, 3), st.sampled_from(("none", "all", "lora_only")))
    def check(config, r, bias):
        options = {"r": r, "bias": bias, "target_modules": ("q_proj", "up_proj", "0.mlp.down_proj")}
        model = methods.apply(ml.GPT(config, seed=1), name, **options)
        assert methods.count(name, config, **options) == sum(array.size for array in trainable(model).values())
        assert model.shapes() == ml.GPT(config).shapes() | adapter_shapes(ml.GPT(config).shapes(), lora_config(model))

    check()


@both
@every_variant
def test_the_verbs_undo_each_other(config, make):
    model, tokens = trained(config, make), batch()[0]
    before, logits = bits(model), model(tokens)
    np.testing.assert_allclose(ml.merge(model)(tokens), logits, rtol=1e-10, atol=1e-12)
    assert bits(ml.unmerge(model)) == before
    assert bits(ml.remove_lora(model)) == bits(make())


@both
@every_variant
def test_every_gradient_is_the_central_difference(config, make):
    if isinstance(config, ml.DoraConfig) and not config.norm_gradient:
        pytest.skip("holds the lengths constant: see test_doras_gradient_with_the_lengths_held")
    model, (tokens, targets, weights) = trained(config, make), batch()
    loss, grads = ml.loss_and_grads(model, tokens, targets, weights, workers=2)
    rounding = gamma(2000, "float64") * loss  # no number in the loss has gone through more operations than that
    assert grads.keys() == trainable(model).keys()
    for name, array in trainable(model).items():
        assert_gradient(grads[name], lambda: loss_of(model, tokens, targets, weights), array, rounding)


@both
@pytest.mark.parametrize("settings", [{"bias": "lora_only"}, {"lora_dropout": 0.4}], ids=str)
@every_variant
def test_biases_and_dropout(config, settings, make):
    """With the same dropout mask each time, drawn from the same seed."""
    if isinstance(config, ml.DoraConfig) and not config.norm_gradient:
        pytest.skip("holds the lengths constant: see test_doras_gradient_with_the_lengths_held")
    model, (tokens, targets, weights) = trained(replace(config, **settings), make), batch()
    logits, cache = model.forward(tokens, np.random.default_rng(1))
    loss, dlogits = loss_and_dlogits(logits, targets, weights)
    grads: dict = {}
    model.backward(dlogits, cache, grads)

    def again() -> float:
        return loss_of(model, tokens, targets, weights, np.random.default_rng(1))

    assert grads.keys() == trainable(model).keys()
    for name, array in trainable(model).items():
        assert_gradient(grads[name], again, array, gamma(2000, "float64") * loss)


def loss_and_dlogits(logits, targets, weights):
    w = (weights / weights.sum()).ravel()
    nll, p = ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.ravel())
    return float(w @ nll), ops.cross_entropy_dlogits(p, targets.ravel(), w).reshape(logits.shape)


@both
@every_variant
def test_files(config, make, tmp_path):
    model = trained(config, make)
    ml.save_adapter(model, tmp_path / "adapter.npz")
    ml.save_model(model, tmp_path / "model.npz")
    for again in (ml.load_adapter(make(), tmp_path / "adapter.npz"), ml.load_model(tmp_path / "model.npz")):
        assert lora_config(again) == lora_config(model)
        assert bits(again) == bits(model) and trainable(again).keys() == trainable(model).keys()
    with pytest.raises(ml.CheckpointError, match="the model has"):
        ml.load_adapter(ml.add_lora(make(), LoraConfig(r=2)), tmp_path / "adapter.npz")


@every_variant
def test_a_run_goes_on_where_it_stopped(config, tmp_path):
    runs, noise = [], np.random.default_rng(0).integers(7, size=60)
    for stops in ((6,), (3, 6)):
        path = tmp_path / f"{len(stops)}.npz"
        for steps in stops:
            model = ml.add_lora(gpt(), config)
            ml.fit(model, noise, steps=steps, batch_size=2, checkpoint=path, resume=path.exists(), progress=False)
        runs.append(bits(model))
    assert runs[0] == runs[1] != bits(ml.add_lora(gpt(), config))


@every_variant
def test_a_method_of_that_name(config, tmp_path):
    options = {**SETTINGS} | ({"norm_gradient": config.norm_gradient} if config.variant == "dora" else {})
    model = methods.apply(gpt(), config.variant, seed=5, **options)
    assert type(lora_config(model)) is type(config)
    for array in trainable(model).values():
        array += 0.1
    methods.save_trained(model, tmp_path / "a.npz")
    assert bits(methods.load_trained(gpt(), tmp_path / "a.npz")) == bits(model)
    assert method_of(ml.remove_lora(model)) is None


@every_variant
def test_a_bank_refuses_it_by_name(config, tmp_path):
    ml.save_adapter(trained(config), tmp_path / "adapter.npz")
    with pytest.raises(ValueError, match=f"'a' is of the variant '{config.variant}'"):
        AdapterBank(gpt()).insert("a", read_adapter(tmp_path / "adapter.npz"))


@every_variant
def test_tables_are_refused_before_any_change(config):
    model = gpt()
    with pytest.raises(ValueError, match=f"wte is a table, and {config.variant} adapts linear layers"):
        ml.add_lora(model, replace(config, target_modules=("q_proj", "wte")))
    assert bits(model) == bits(gpt()) and all(p.trainable for p in model.parameters)


@every_variant
def test_on_a_quantized_base(config, tmp_path):
    wide = replace(TINY_LLAMA, hidden_size=64, intermediate_size=64, head_dim=16, dtype="float32")

    def base():
        return quantize(llama(wide))

    model, plain, (tokens, targets, weights) = ml.add_lora(base(), config), base(), batch()
    np.testing.assert_array_equal(model(tokens), plain(tokens))
    first, grads = ml.loss_and_grads(model, tokens, targets, weights)
    for _ in range(10):
        optimizer = ml.Adam(model, 1e-2)
        optimizer.step(ml.loss_and_grads(model, tokens, targets, weights)[1])
    assert ml.loss_and_grads(model, tokens, targets, weights)[0] < first
    ml.save_adapter(model, tmp_path / "a.npz")
    np.testing.assert_array_equal(ml.load_adapter(base(), tmp_path / "a.npz")(tokens), model(tokens))
    with pytest.raises(LoraError, match="dequantize=True"):
        ml.merge(model)
    logits = model(tokens)
    np.testing.assert_allclose(ml.merge(model, dequantize=True)(tokens), logits, rtol=0, atol=1e-4 * abs(logits).max())


# ---------------------------------------------------------------------------------------------------- DoRA


@both
@pytest.mark.parametrize("settings", [{}, {"bias": "all"}, {"lora_dropout": 0.4}], ids=str)
def test_doras_gradient_with_the_lengths_held(make, settings, monkeypatch):
    """The paper's gradient is the derivative of a loss in which n is frozen at its present value."""
    model, (tokens, targets, weights) = trained(replace(VARIANTS["dora"], **settings), make), batch()
    logits, cache = model.forward(tokens, np.random.default_rng(1))
    loss, dlogits = loss_and_dlogits(logits, targets, weights)
    grads: dict = {}
    model.backward(dlogits, cache, grads)
    kept = {id(layer): layer._direction()[1] for _, layer in lora_layers(model)}

    def held(self):
        V = self.weight.data + self.scaling * self.lora_B.data @ self.lora_A.data
        return V, kept[id(self)], self.lora_magnitude_vector.data / kept[id(self)]

    monkeypatch.setattr("minilora.methods.dora.DoraLinear._direction", held)

    def again() -> float:
        return loss_of(model, tokens, targets, weights, np.random.default_rng(1))

    for name, array in trainable(model).items():
        assert_gradient(grads[name], again, array, gamma(2000, "float64") * loss)


def test_the_rows_of_doras_weight_are_as_long_as_its_magnitudes():
    model = ml.merge(trained(VARIANTS["dora"]))
    for _, layer in lora_layers(model):
        lengths = np.linalg.norm(layer.weight.data, axis=1)
        np.testing.assert_allclose(lengths, np.abs(layer.lora_magnitude_vector.data), rtol=1e-12)


def test_doras_update_has_any_rank():
    layer = dict(lora_layers(trained(VARIANTS["dora"])))["blocks.0.attn.q_proj"]
    assert np.linalg.matrix_rank(layer.delta()) == min(layer.weight.shape) > layer.r


def test_a_row_of_zeros_stays_one():
    base = gpt()
    base.blocks[0].attn.q_proj.weight.data[1] = 0
    model = ml.add_lora(base, VARIANTS["dora"])
    layer = model.blocks[0].attn.q_proj
    assert np.isfinite(model(batch()[0])).all() and layer.lora_magnitude_vector.data[1] == 0
    assert not layer.delta().any()


def test_dora_cannot_be_unmerged_without_w0():
    model = ml.merge(trained(VARIANTS["dora"]), keep_base=False)
    with pytest.raises(LoraError, match="keep_base=True"):
        ml.unmerge(model)
    ml.remove_lora(model)  # but W' may stay
