"""GPT-2's arithmetic, every gradient of it, and what freezing saves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import GPT, GPTConfig, loss_and_grads
from minilora.nn import cache_bytes
from minilora.testing.bounds import gamma
from minilora.transformer import residual_std, shapes
from tests.finite_differences import assert_gradient
from tests.models import TINY, batch, configs, gpt, loss_of, seeds
from tests.reference import reference_logits, reference_loss

# ------------------------------------------------------------------------------------------- arithmetic


@given(configs(), seeds, st.data())
def test_logits_are_gpt2s(config, seed, data):
    model = gpt(config, seed)
    T = data.draw(st.integers(1, config.block_size))
    tokens = np.random.default_rng(seed).integers(config.vocab_size, size=(2, T))
    expected = reference_logits(model, tokens)
    logits = model(tokens)
    assert logits.dtype == config.dtype
    assert (np.abs(logits - expected.value) <= 2 * expected.error).all()


def test_the_bound_on_the_logits_is_far_below_the_logits():
    expected = reference_logits(gpt(), batch()[0])
    assert expected.error.max() < 1e-10 * np.abs(expected.value).max()


@given(st.sets(st.integers(0, 7), min_size=1), st.booleans())
def test_only_the_positions_asked_for_get_logits(positions, backwards):
    """The other rows only add zeros, so only rounding differs: a product over fewer rows may add in a different order.
    Fewer than 10,000 numbers go into any entry, and none of their products is larger than the largest gradient."""
    model, (tokens, _, _) = gpt(), batch()  # 8 tokens
    rows = np.array(sorted(positions, reverse=backwards))
    everywhere, cache = model.forward(tokens)
    logits, cache_there = model.forward(tokens, positions=rows)
    chosen = everywhere.reshape(8, -1)[rows]
    assert np.abs(logits - chosen).max() <= gamma(10_000, "float64") * np.abs(everywhere).max()
    dlogits = np.zeros((8, TINY.vocab_size))
    dlogits[rows] = logits
    grads: dict = {}
    grads_there: dict = {}
    model.backward(dlogits.reshape(everywhere.shape), cache, grads)
    model.backward(logits, cache_there, grads_there)
    assert grads.keys() == grads_there.keys()
    largest = max(np.abs(gradient).max() for gradient in grads.values())
    for name, gradient in grads.items():
        assert np.abs(grads_there[name] - gradient).max() <= gamma(10_000, "float64") * largest


# --------------------------------------------------------------------------------------- initialisation


@given(configs())
def test_shapes_are_those_of_the_model_in_its_order(config):
    model = GPT(config)
    assert list(shapes(config).items()) == list(model.shapes().items())
    assert sum(p.size for p in model.named_parameters().values()) == config.parameter_count
    assert (model.width, model.layers, model.max_tokens) == (config.n_embd, config.n_layer, config.block_size)
    assert (config.width, config.layers, config.max_tokens) == (config.n_embd, config.n_layer, config.block_size)


@given(configs())
def test_parameters_are_counted_by_formula(config):
    V, C = config.vocab_size, config.n_embd
    assert config.parameter_count == (V + config.block_size) * C + config.n_layer * (12 * C**2 + 13 * C) + 2 * C


def test_weights_start_as_gpt2s_do():
    """Gaussian matrices: a sample's standard deviation is off by 1/sqrt(2n) of itself; five of those are allowed."""
    config = GPTConfig(n_layer=2, n_head=2, n_embd=64)
    for name, parameter in GPT(config).named_parameters().items():
        if name.endswith("bias"):
            assert not parameter.data.any()
        elif ".ln_" in name or name.startswith("ln_"):
            assert (parameter.data == 1).all()
        else:
            std = residual_std(config) if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
            assert abs(parameter.data.std() / std - 1) < 5 / np.sqrt(2 * parameter.size)


# -------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", gpt().named_parameters())
def test_every_entry_of_every_gradient_is_the_central_difference(name):
    model, (tokens, targets, weights) = gpt(), batch()
    loss, grads = loss_and_grads(model, tokens, targets, weights)
    expected = reference_loss(model, tokens, targets, weights)
    assert abs(loss - expected.value) <= 2 * expected.error
    # 2: moving the parameter less than doubles the sizes from which rounding is counted.
    rounding = 2 * float(expected.error)
    parameter = model.named_parameters()[name].data
    assert_gradient(grads[name], lambda: loss_of(model, tokens, targets, weights), parameter, rounding)


# -------------------------------------------------------------------------------- what freezing saves


def test_a_cache_holds_nothing_of_blocks_below_the_lowest_trainable_parameter():
    model = gpt()
    model.freeze()
    model.blocks[1].mlp.down_proj.bias.trainable = True
    _, cache = model.forward(batch()[0])
    assert cache.blocks[0] is None
    assert cache.blocks[1].ln_1 is None and cache.blocks[1].attn is None and cache.blocks[1].ln_2 is None
    assert cache.embeddings == (None, None)


def test_backward_enters_no_frozen_block(monkeypatch):
    model = gpt()
    model.blocks[0].freeze()
    model.wte.freeze()
    model.wpe.freeze()
    monkeypatch.setattr(model.blocks[0], "backward", lambda *args: pytest.fail("the frozen block was entered"), False)
    loss_and_grads(model, *batch())


@given(st.integers(1, 3), st.integers(1, 5))
def test_the_cache_of_full_training_has_the_size_that_the_layers_imply(B, T):
    """Numbers per position.  ln_1, ln_2: xhat and rstd, 2 (C + 1).  Attention: the input that q, k and v share, q, k,
    v and y, and what o_proj saves, which is y again: 5 C; one softmax weight per key and head (masked ones
    too), H T.  MLP: the input C, h, a and phi 4 C each.  ln_f: C + 1; the head's input: C."""
    model = gpt()
    C, H, L = TINY.n_embd, TINY.n_head, TINY.n_layer
    block = 2 * (C + 1) + 5 * C + H * T + 13 * C
    _, cache = model.forward(np.zeros((B, T), dtype=int))
    tokens = 8 * (B * T + T)  # int64: those that wte and wpe looked up
    assert cache_bytes(cache) == 8 * B * T * (L * block + C + 1 + C) + tokens


@given(st.integers(1, 3), st.integers(1, 5))
def test_the_cache_of_one_trainable_bias_at_the_top_is_what_ln_f_needs(B, T):
    model = gpt()
    model.freeze()
    model.ln_f.bias.trainable = True
    _, cache = model.forward(np.zeros((B, T), dtype=int))
    assert cache_bytes(cache) == 8 * B * T * (TINY.n_embd + 1)


def test_a_call_keeps_nothing_for_backward():
    model = gpt()
    model.wte.freeze()
    model.wpe.freeze()
    _, cache = model.forward(batch()[0], keep=False)
    assert cache_bytes(cache) == 0
