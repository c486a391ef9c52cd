"""Llama's arithmetic in every variant, every gradient of it, its cache, and LoRA on it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import LoraConfig, add_lora, loss_and_grads, merge, unmerge
from minilora.llama import Llama, LlamaConfig, shapes
from tests.finite_differences import assert_gradient
from tests.models import LLAMAS, TINY_LLAMA, adapted, batch, bits, llama, loss_of, seeds
from tests.reference import weighted_loss
from tests.reference_llama import reference_llama_logits

every_variant = pytest.mark.parametrize("variant", LLAMAS)
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "wte")
EVERYWHERE = LoraConfig(r=2, lora_alpha=2, target_modules=ALL)


@st.composite
def configs(draw) -> LlamaConfig:
    keys = draw(st.integers(1, 2))
    return replace(
        LLAMAS[draw(st.sampled_from(sorted(LLAMAS)))],
        vocab_size=draw(st.integers(1, 9)),
        hidden_size=draw(st.integers(2, 9)),
        intermediate_size=draw(st.integers(1, 9)),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=keys * draw(st.integers(1, 3)),
        num_key_value_heads=keys,
        head_dim=2 * draw(st.integers(1, 3)),
        max_position_embeddings=draw(st.integers(1, 6)),
        dtype=draw(st.sampled_from(("float32", "float64"))),
    )


# ------------------------------------------------------------------------------------------- arithmetic


@given(configs(), seeds, st.data())
def test_logits_are_the_papers(config, seed, data):
    model = llama(config, seed)
    T = data.draw(st.integers(1, config.max_tokens))
    tokens = np.random.default_rng(seed).integers(config.vocab_size, size=(2, T))
    expected = reference_llama_logits(model, tokens)
    logits = model(tokens)
    assert logits.dtype == config.dtype
    assert (np.abs(logits - expected.value) <= 2 * expected.error).all()


@every_variant
def test_the_bound_on_the_logits_is_far_below_the_logits(variant):
    expected = reference_llama_logits(llama(LLAMAS[variant]), batch()[0])
    assert expected.error.max() < 1e-10 * np.abs(expected.value).max()


def test_the_order_of_tokens_counts():
    logits = llama()(np.array([[1, 2, 3], [2, 1, 3]]))
    assert not np.allclose(logits[0, -1], logits[1, -1])


@every_variant
@pytest.mark.parametrize("steps", [(5,), (1, 1, 1, 1, 1), (3, 1, 1), (2, 3)])
def test_a_cache_gives_what_a_whole_forward_gives(variant, steps):
    """To rounding: a product of other shapes may add in another order."""
    model = llama(LLAMAS[variant])
    tokens = batch(T=5)[0]
    expected = reference_llama_logits(model, tokens)
    past, start = model.new_past(2), 0
    for n in steps:
        logits, _ = model.forward(tokens[:, start : start + n], past=past, keep=False)
        error = np.abs(logits - expected.value[:, start : start + n])
        assert (error <= 2 * expected.error[:, start : start + n]).all()
        start += n


@pytest.mark.parametrize("tied", [True, False])
def test_positions_choose_rows_of_the_logits(tied):
    model = llama(replace(TINY_LLAMA, tie_word_embeddings=tied))
    tokens, positions = batch()[0], np.array([6, 1, 2])
    logits, _ = model.forward(tokens, positions=positions)
    np.testing.assert_allclose(logits, model(tokens).reshape(8, 7)[positions], rtol=0, atol=1e-13)


# --------------------------------------------------------------------------------------- initialisation


@given(configs())
def test_shapes_are_those_of_the_model(config):
    found = {name: p.shape for name, p in Llama(config).named_parameters().items()}
    assert found == shapes(config) and list(found) == list(shapes(config))
    assert sum(np.prod(shape) for shape in found.values()) == config.parameter_count


def test_the_default_is_smollm2s_shape():
    assert LlamaConfig().parameter_count == 134_515_008 and LlamaConfig().head_dim == 64


# -------------------------------------------------------------------------------------------- gradients


def loss_rounding(model: Llama, tokens, targets, weights) -> float:
    """How far the loss may be out, doubled, since a difference moves a parameter by less than doubles any size."""
    return 2 * float(weighted_loss(reference_llama_logits(model, tokens), targets, weights, model.dtype).error)


@every_variant
def test_every_entry_of_every_gradient_is_the_central_difference(variant):
    model, data = llama(LLAMAS[variant]), batch()
    _, grads = loss_and_grads(model, *data)
    rounding = loss_rounding(model, *data)
    assert grads.keys() == model.named_parameters().keys()
    for name, parameter in model.named_parameters().items():
        assert_gradient(grads[name], lambda: loss_of(model, *data), parameter.data, rounding)


@every_variant
def test_every_gradient_of_lora_is_the_central_difference(variant):
    """On all seven projections and the table of tokens, which is the head too where the two are tied."""
    model, data = adapted(llama(LLAMAS[variant]), EVERYWHERE, seed=1), batch()
    _, grads = loss_and_grads(model, *data)
    rounding = loss_rounding(model, *data)
    assert len(grads) == 2 * (7 * 2 + 1)
    for name, gradient in grads.items():
        parameter = model.named_parameters()[name].data
        assert_gradient(gradient, lambda: loss_of(model, *data), parameter, rounding)


@every_variant
def test_a_merged_lora_computes_the_same_and_unmerges_to_the_bit(variant):
    model, tokens = adapted(llama(LLAMAS[variant]), EVERYWHERE, seed=1), batch()[0]
    expected, before = reference_llama_logits(model, tokens), bits(model)
    assert (np.abs(model(tokens) - expected.value) <= 2 * expected.error).all()
    merge(model)
    assert (np.abs(model(tokens) - expected.value) <= 2 * expected.error).all()
    unmerge(model)
    assert bits(model) == before


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_agree_to_rounding_and_dropout_does_not_depend_on_them(workers):
    model = add_lora(llama(), LoraConfig(r=2, lora_dropout=0.5))
    data = batch(B=5)
    loss, grads = loss_and_grads(model, *data, workers=workers, rng=np.random.default_rng(0))
    alone, grads_alone = loss_and_grads(model, *data, rng=np.random.default_rng(0))
    assert abs(loss - alone) < 1e-14 * abs(alone) * len(data[0])
    for name, g in grads.items():
        np.testing.assert_allclose(g, grads_alone[name], rtol=0, atol=1e-13)
