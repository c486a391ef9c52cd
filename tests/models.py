"""Models small enough to check number by number, and the inputs for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from minilora import GPT, GPTConfig, LoraConfig, add_lora, ops
from minilora.llama import Llama, LlamaConfig
from minilora.machine.backend import to_host
from minilora.nn import Decoder, Model

seeds = st.integers(0, 2**32 - 1)

# No two sizes are equal, so that confusing two axes is an error of shape.
TINY = GPTConfig(vocab_size=7, block_size=5, n_layer=2, n_head=2, n_embd=6, dtype="float64")


@st.composite
def configs(draw, min_block_size: int = 1) -> GPTConfig:
    """A small shape, at least 4 wide, in either precision."""
    n_head = draw(st.integers(1, 3))
    return GPTConfig(
        vocab_size=draw(st.integers(1, 9)),
        block_size=draw(st.integers(min_block_size, 9)),
        n_layer=draw(st.integers(1, 3)),
        n_head=n_head,
        n_embd=n_head * draw(st.integers(-(-4 // n_head), 4)),
        dtype=draw(st.sampled_from(("float32", "float64"))),
    )


def gpt(config: GPTConfig = TINY, seed: int = 0) -> GPT:
    """A model as if trained: no bias is zero and no softmax flat, so that nothing hides a gradient."""
    return scramble(GPT(config), seed)


def adapted(model: Model, lora: LoraConfig, seed: int = 0) -> Model:
    """The model with a LoRA as if trained: new numbers for all that trains."""
    add_lora(model, lora)
    rng = np.random.default_rng(seed)
    for array in trainable(model).values():
        array[...] = 0.2 * rng.standard_normal(array.shape)
    return model


def scramble(model: Model, seed: int = 0) -> Model:
    """New numbers for every parameter, B of a LoRA among them.

    The embeddings dominate the residual stream, as in a trained model, so the blocks' rounding is not magnified.
    """
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters().items():
        std = 1.0 if name in ("wte.weight", "wpe.weight") else 0.2
        mean = 1.0 if parameter.data.ndim == 1 and name.endswith("weight") else 0.0  # LayerNorm's
        parameter.data[...] = mean + std * rng.standard_normal(parameter.shape)
    return model


def batch(seed: int = 0, B: int = 2, T: int = 4, vocab_size: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, targets and weights, (B, T) each; one of the weights is 0."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2, (B, T))
    weights[0, 0] = 0
    return rng.integers(vocab_size, size=(B, T)), rng.integers(vocab_size, size=(B, T)), weights


def loss_of(model: GPT, tokens: np.ndarray, targets: np.ndarray, weights: np.ndarray, rng=None) -> float:
    """sum(w * NLL) / sum(w), computed from the logits only."""
    logits, _ = model.forward(tokens, rng)
    nll, _ = ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.ravel())
    return float((weights.ravel() * nll).sum() / weights.sum())


def trainable(model: Decoder) -> dict[str, np.ndarray]:
    """Name -> array of each parameter that trains."""
    return {name: p.data for name, p in model.named_parameters().items() if p.trainable}


def bits(model: Decoder) -> dict[str, bytes]:
    """Name -> the bytes of each parameter: equal exactly when no bit has changed."""
    return {name: to_host(p.data).tobytes() for name, p in model.named_parameters().items()}


@contextmanager
def refused(model: Decoder, message: str, error: type[Exception] = ValueError) -> Iterator[None]:
    """What is done inside raises this error, with a message that matches, and moves no bit of the model."""
    before = bits(model)
    with pytest.raises(error, match=message):
        yield
    assert bits(model) == before


# 4 heads share 2 keys; a head has another size than width / heads.
TINY_LLAMA = LlamaConfig(
    vocab_size=7,
    hidden_size=6,
    intermediate_size=10,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=8,
    rope_theta=100.0,
    dtype="float64",
)
# Every variant of the architecture, by what has it.
LLAMAS = {
    "llama": TINY_LLAMA,
    "llama3": replace(
        TINY_LLAMA,
        rope_scaling={
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "qwen2": replace(TINY_LLAMA, qkv_bias=True, tie_word_embeddings=False),
    "qwen3": replace(TINY_LLAMA, qk_norm=True, rms_norm_eps=0.1),  # a short q or k is not stretched beyond measure
    "all biases": replace(TINY_LLAMA, qkv_bias=True, o_bias=True),
}


def llama(config: LlamaConfig = TINY_LLAMA, seed: int = 0) -> Llama:
    """A model as if trained: see `gpt`.  The embeddings dominate even more, since RMSNorm keeps a row's mean."""
    model = scramble(Llama(config), seed)
    model.wte.weight.data *= 3
    return model


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """The same arrays under the same names, bit for bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)
