"""The right answers are right: by finite differences, and by the package, which has most of them made fast."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minilora import LoraConfig, add_lora, llama, loss_and_grads, merge, ops, remove_lora
from minilora.exercises import spec
from minilora.lora import lora_layers
from minilora.methods.dora import DoraConfig, DoraLinear
from minilora.methods.pissa import PissaConfig
from minilora.nn import Linear, Parameter
from minilora.quantized.nf4 import LEVELS, quantize_nf4
from minilora.testing.bounds import gamma
from tests.exercises import drawn
from tests.finite_differences import assert_gradient
from tests.models import TINY_LLAMA, batch, gpt


def exercise(number):
    """The functions and the arguments, in float64, of each case of an exercise that is drawn in float64."""
    name = spec.find(str(number))
    found = spec.load(name)
    cases = [case for case in drawn.cases(name) if case.dtype is np.float64]
    return found, [found.named_arguments(case) for case in cases]


def near(got, expected, magnitude, terms):
    """Do two ways to compute sums of `terms` products agree to within what rounding explains?"""
    allowed = 2 * gamma(terms, np.float64) * np.asarray(magnitude) + np.finfo(float).tiny
    assert np.shape(got) == np.shape(expected) and (np.abs(np.asarray(got) - expected) <= allowed).all()


# ------------------------------------------------------------------------------------------------ the cases


@pytest.mark.parametrize("name", spec.names())
def test_cases_are_the_same_everywhere(name):
    """A change here changes what students are tried on: python -m tests.exercises.drawn writes the new hashes."""
    assert drawn.digest(name) == json.loads(drawn.FILE.read_text("utf-8"))[name]


# ------------------------------------------------------------------------------------- by finite differences


def small(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def assert_gradients(forward, arrays, got, dy, magnitude, terms):
    """`got` are the derivatives of sum(dy * forward()) in each of the arrays; the loss adds up terms of `magnitude`."""
    rounding = gamma(terms + dy.size, np.float64) * float((np.abs(dy) * magnitude).sum())
    for array, gradient in zip(arrays, got, strict=True):
        assert_gradient(gradient, lambda: float((dy * forward()).sum()), array, rounding)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 1)])
def test_28_rms_norm_backward(shape):
    f = spec.load("ex28_rms_norm").functions
    x, g, dy = small(*shape), small(shape[-1], seed=1), small(*shape, seed=2)
    y = f["rms_norm"](x, g, 0.1)
    got = f["rms_norm_backward"](dy, x, g, 0.1)
    assert_gradients(lambda: f["rms_norm"](x, g, 0.1), (x, g), got, dy, np.abs(y), shape[-1] + 5)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 6), (1, 2)])
def test_29_rotary_backward(shape):
    f = spec.load("ex29_rotary").functions
    x, dy = small(*shape), small(*shape, seed=1)
    got = f["rotary_backward"](dy, 5, 100.0)
    assert_gradients(lambda: f["rotary"](x, 5, 100.0), (x,), (got,), dy, 20 * np.abs(x).max(), 5)


def test_30_shared_backward():
    f = spec.load("ex30_grouped_queries").functions
    k, dkeys = small(2, 3, 4), small(6, 3, 4, seed=1)
    got = f["shared_backward"](dkeys, 2)
    assert_gradients(lambda: np.repeat(k, 3, axis=0), (k,), (got,), dkeys, np.abs(np.repeat(k, 3, axis=0)), 1)


@pytest.mark.parametrize("leading", [(3,), (2, 3)])
def test_31_swiglu_backward(leading):
    module = spec.load("ex31_swiglu").module
    arrays = small(*leading, 4), small(5, 4, seed=1), small(5, 4, seed=2), small(4, 5, seed=3)
    dy = small(*leading, 4, seed=4)
    got, size = module.swiglu_backward(dy, *arrays), module.magnitude(*arrays)
    assert_gradients(lambda: module.swiglu(*arrays), arrays, got, dy, size, 20)


def test_33_dora_backward_with_constant_lengths():
    f = spec.load("ex33_dora").functions
    x, W0, A, B, m, dy = small(3, 4), small(5, 4), small(2, 4), small(5, 2), small(5), small(3, 5)
    lengths = np.linalg.norm(W0 + 1.5 * B @ A, axis=1)

    def forward():
        return x @ ((m / lengths)[:, None] * (W0 + 1.5 * B @ A)).T

    near(f["dora_forward"](x, W0, A, B, m, 3.0), forward(), 100, 20)
    size = np.abs(x) @ ((np.abs(m) / lengths)[:, None] * (np.abs(W0) + 1.5 * np.abs(B) @ np.abs(A))).T
    assert_gradients(forward, (x, A, B, m), f["dora_backward"](dy, x, W0, A, B, m, 3.0), dy, size, 20)


# ------------------------------------------------------------------------------------------- by the package


def test_28_rms_norm_is_ours():
    found, given = exercise(28)
    for a in given:
        dy, x, g, eps = a.values()
        y, xhat, rrms = ops.rms_norm(x, g, eps)
        near(found.functions["rms_norm"](x, g, eps), y, np.abs(y), x.size + 9)
        dx, dgamma = found.functions["rms_norm_backward"](dy, x, g, eps)
        sizes = found.magnitude["rms_norm_backward"](**a)
        near(dx, ops.rms_norm_dx(dy, xhat, rrms, g), sizes[0], x.size + 9)
        near(dgamma, ops.layer_norm_dgamma(dy, xhat), sizes[1], x.size + 9)


def test_29_rotary_is_ours():
    found, given = exercise(29)
    for a in given:
        x, dy, start, theta = a.values()
        T, D = x.shape[-2:]
        config = replace(TINY_LLAMA, head_dim=D, rope_theta=theta)
        angles = ops.rotary_angles(start + np.arange(T), np.array(llama.rotary_frequencies(config)))
        size = 2 * np.abs(np.concatenate([x, dy])).max() * (1 + start + T)
        near(found.functions["rotary"](x, start, theta), ops.rotary(x, *angles), size, 9)
        near(found.functions["rotary_backward"](dy, start, theta), ops.rotary_dx(dy, *angles), size, 9)


def test_30_grouped_attention_is_ours():
    found, given = exercise(30)
    for a in given:
        q, k, v, dkeys, K = a.values()
        y, _ = ops.causal_attention(q[None], k[None], v[None])
        near(found.functions["grouped_attention"](q, k, v), y[0], found.magnitude["grouped_attention"](q, k, v), 99)
        got = found.functions["shared_backward"](dkeys, K)
        near(got, ops._sum_over_query_heads(dkeys[None], got[None])[0], np.abs(dkeys).sum(), len(dkeys))


def test_31_swiglu_is_ours():
    config = replace(TINY_LLAMA, hidden_size=6, intermediate_size=5, dtype="float64")
    mlp = llama.Llama(config, seed=1).blocks[0].mlp
    mlp.gate_proj.weight.name, mlp.up_proj.weight.name, mlp.down_proj.weight.name = "g", "u", "d"
    module, x, dy = spec.load("ex31_swiglu").module, small(2, 3, 6), small(2, 3, 6, seed=1)
    weights = [layer.weight.data for layer in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)]
    y, cache = mlp.forward(x)
    near(module.swiglu(x, *weights), y, module.magnitude(x, *weights), 30)
    grads = {}
    dx = mlp.backward(dy, cache, grads)
    sizes = module.backward_magnitude(dy, x, *weights)
    for got, ours, size in zip(
        module.swiglu_backward(dy, x, *weights), (dx, *(grads[name] for name in "gud")), sizes, strict=True
    ):
        near(got, ours, size, 30)


def test_32_quantize_is_nf4_but_for_its_packing():
    f, W = spec.load("ex32_quantization").functions, small(6, 128).astype(np.float32)
    W[2, :64] = 0
    ours, blocks = quantize_nf4(W), W.reshape(-1, 64)
    codes, c = f["quantize"](blocks, LEVELS)
    assert np.array_equal(np.stack([ours.codes >> 4, ours.codes & 15], axis=-1).reshape(blocks.shape), codes)
    stored = ours.largest().reshape(-1)
    numbers = f["dequantize"](codes, stored, LEVELS)
    assert np.array_equal(numbers.reshape(W.shape), ours.rows())
    bound = f["error_bound"](c, stored, LEVELS)
    assert (np.abs(blocks - numbers).max(axis=1) <= bound * (1 + 2**-20)).all()
    assert (bound <= ours.error_bound().reshape(-1) * (1 + 2**-20)).all()


def test_33_dora_is_ours():
    f, config = spec.load("ex33_dora").functions, DoraConfig(r=2, lora_alpha=3.0)
    x, W0, A, B, m, dy = small(3, 4), small(5, 4), small(2, 4), small(5, 2), small(5), small(3, 5)
    layer = DoraLinear(Linear(Parameter(W0, trainable=False)), config, np.random.default_rng(0))
    for parameter, data in ((layer.lora_A, A), (layer.lora_B, B), (layer.lora_magnitude_vector, m)):
        parameter.data = data
    layer.assign_names()
    grads = {}
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache, grads)
    near(f["dora_forward"](x, W0, A, B, m, 3.0), y, 100, 20)
    ours = dx, grads["lora_A"], grads["lora_B"], grads["lora_magnitude_vector"]
    for got, expected in zip(f["dora_backward"](dy, x, W0, A, B, m, 3.0), ours, strict=True):
        near(got, expected, 1000, 20)


def test_34_pissa_is_ours_and_trains_the_best_update_of_its_rank():
    W, truncate = small(5, 4), spec.load("ex10_svd_truncation").functions["truncate"]
    residual, A, B = spec.load("ex34_pissa").functions["pissa_start"](W, 2, 3.0)
    ours = PissaConfig(r=2, lora_alpha=3.0).start(W, 2, 1.5)
    best_B, best_A = truncate(W, 2)
    for got, expected in ((A, ours[0]), (B, ours[1]), (1.5 * B @ A, best_B @ best_A), (residual + 1.5 * B @ A, W)):
        near(got, expected, np.linalg.norm(W), 20)


def test_35_the_loop_is_ours():
    """Three steps of plain gradient descent: LoRA's own gradients here, the whole weights' for the exercise."""
    whole, adapted, (tokens, targets, _) = gpt(), gpt(), batch()
    add_lora(adapted, LoraConfig(r=2, lora_alpha=3.0, target_modules=("q_proj", "down_proj")), seed=4)
    weights = whole.state_dict()
    A = {f"{path}.weight": layer.lora_A.data.copy() for path, layer in lora_layers(adapted)}

    def gradient(now):
        whole.load_state_dict(now)
        return loss_and_grads(whole, tokens, targets)[1]

    tuned = spec.load("ex35_training_loop").functions["tune"](weights, A, 3.0, 0.1, 3, gradient)
    for _ in range(3):
        _, grads = loss_and_grads(adapted, tokens, targets)
        for name, parameter in adapted.named_parameters().items():
            if name in grads:
                parameter.data -= 0.1 * grads[name]
    merged = remove_lora(merge(adapted)).state_dict()
    assert len(A) == 2 * len(whole.blocks) and weights.keys() == merged.keys()
    for name, W in weights.items():
        moved = np.abs(merged[name] - W).max()
        assert (name in A) == (moved > 0)  # the two add up in other orders; a mistake would be in the first digits
        assert np.abs(tuned[name] - merged[name]).max() <= 1e-9 * moved
