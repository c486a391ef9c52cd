"""Each block means what its format says; NF4 is the nearest level, within its bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minilora.quantized import BLOCK_TYPES, BlockWeight, quantize_nf4
from minilora.quantized.nf4 import BLOCK, BOUNDARIES, LEVELS
from minilora.testing.bounds import gamma
from tests.gguf_files import BYTES, SIZE, meaning, random_blocks


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_blocks_mean_what_their_format_says(kind):
    assert (BLOCK_TYPES[kind].record.itemsize, BLOCK_TYPES[kind].size) == (BYTES[kind], SIZE[kind])
    shape = (3, 2 * SIZE[kind])
    data = random_blocks(kind, shape, np.random.default_rng(0))
    weight = BlockWeight(kind, np.frombuffer(data, BLOCK_TYPES[kind].record).reshape(3, 2))
    expected = meaning(kind, data).reshape(shape)
    assert weight.shape == shape and weight.nbytes == len(data) and weight.rows().dtype == np.float32
    # A scale times a scale times an integer, less a product of three: 5 roundings of terms no larger than these.
    largest = np.abs(expected).max() + 63 * 15
    assert np.abs(weight.rows() - expected).max() <= gamma(5, "float32") * largest
    for which in (slice(1, 3), np.array([[2, 0], [1, 1]])):
        np.testing.assert_array_equal(weight.rows(which), weight.rows()[which])


def test_the_levels_of_nf4():
    """Those that the paper prints (appendix E), computed in float32 there."""
    printed = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635]
    printed += [-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725]
    printed += [0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941]
    printed += [0.7229568362236023, 1.0]
    np.testing.assert_allclose(LEVELS, printed, rtol=0, atol=gamma(4, "float32"))


weights = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 3)).map(lambda s: (s[0], s[1] * BLOCK)),
    elements=st.floats(-(2.0**20), 2.0**20, width=32),
)


@given(weights)
def test_nf4_is_within_its_bound(W):
    quantized = quantize_nf4(W)
    error = np.abs(quantized.rows().astype(np.float64) - W).reshape(len(W), -1, BLOCK)
    bound = quantized.error_bound()[..., None].astype(np.float64)
    # In float32: c' is a product and a sum of numbers no larger than the largest c, a level times it one more; the
    # quotient that is compared with the boundaries and the boundaries themselves are rounded too.
    rounding = gamma(8, "float32") * np.abs(W).max() + np.finfo(np.float32).tiny
    assert (error <= bound + rounding).all()


@given(weights)
def test_nf4_takes_the_nearest_level(W):
    blocks = W.reshape(-1, BLOCK).astype(np.float64)
    c = np.abs(blocks).max(axis=1, keepdims=True)
    x = np.divide(blocks, c, out=np.zeros_like(blocks), where=c > 0)
    codes = quantize_nf4(W).codes.reshape(-1, BLOCK // 2)
    levels = LEVELS[np.stack([codes >> 4, codes & 15], axis=-1).reshape(x.shape)]
    best = np.abs(x[..., None] - LEVELS).min(axis=-1)
    assert (np.abs(x - levels) <= best + gamma(4, "float32")).all()


def test_nf4_of_many_blocks_takes_4_and_an_eighth_bits_a_weight():
    W = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    quantized = quantize_nf4(W)
    assert quantized.nbytes == W.size // 2 + W.size // 64 + 4 * W.size // (64 * 256) + 4
    np.testing.assert_array_equal(quantized.rows(slice(7, 300)), quantized.rows()[7:300])
    np.testing.assert_array_equal(quantized.rows(np.array([5, 5, 1])), quantized.rows()[[5, 5, 1]])


def test_nf4_of_zeros_is_zeros_and_odd_rows_are_refused():
    W = np.zeros((3, 128), np.float32)
    W[1] = 1.0
    np.testing.assert_array_equal(quantize_nf4(W).rows()[[0, 2]], 0)
    with pytest.raises(ValueError, match="multiple of 64"):
        quantize_nf4(np.zeros((2, 65)))


def test_nf4_is_that_of_bitsandbytes():
    """Where it is installed: the same codes, but for numbers on a boundary, and the same c before it is quantized."""
    functional = pytest.importorskip("bitsandbytes.functional")
    torch = pytest.importorskip("torch")
    W = np.random.default_rng(1).standard_normal((32, 256)).astype(np.float32)
    packed, state = functional.quantize_4bit(torch.from_numpy(W), quant_type="nf4", blocksize=BLOCK)
    ours, theirs = quantize_nf4(W).codes.ravel(), packed.numpy().ravel()
    c = np.abs(W.reshape(-1, BLOCK)).max(axis=1, keepdims=True)
    np.testing.assert_array_equal(state.absmax.numpy(), c[:, 0])
    near = np.abs((W.reshape(-1, BLOCK) / c)[..., None] - BOUNDARIES).min(axis=-1) < gamma(8, "float32")
    assert ((ours == theirs) | near.reshape(-1, 2).any(axis=1)).all() and near.mean() < 0.01
