"""NF4: 4 bits per weight, sixteen levels that a Gaussian weight uses about equally often (Dettmers et al. 2023).

A weight is cut into blocks of 64 numbers. A block is divided by its largest magnitude c, so that it lies in [-1, 1],
and each number becomes the index of the nearest level (section 2, "4-bit NormalFloat"). The c of every block are
quantized once more ("double quantization"): 256 at a time, as mean + scale * (a whole number from -127 to 127), so that
they cost 8 + 32/256 bits per block instead of 32, and a weight 4 + 8/64 + 32/(64 * 256) = 4.127 bits.

The paper's second code is an 8-bit float. Ours is uniform, which takes the same room, has no table, and makes the
largest error of a c smaller: half a step, 1/254 of the largest deviation from the mean.

The error of a weight w in a block with largest magnitude c, stored as c' (see `NF4Weight.error_bound`):

    |w - c' level| <= c/2 * (largest gap between levels) + |c - c'|         the gap is 0.3038, from -1 to -0.6962
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from statistics import NormalDist
from types import ModuleType

import numpy as np

from minilora.machine.backend import Array, array_module
from minilora.quantized.weight import QuantizedWeight

BLOCK, GROUP = 64, 256  # weights that share one c; blocks whose c share one scale


def _levels() -> np.ndarray:
    """Quantiles of the normal distribution, evenly spaced: 8 from the middle up and 7 from the middle down, and 0,
    divided by the largest.  The outermost probability, 1 - (1/32 + 1/30) / 2, is the paper's."""
    outer = 1 - (1 / 32 + 1 / 30) / 2
    quantile = NormalDist().inv_cdf
    above = [quantile(p) for p in np.linspace(outer, 0.5, 9)[:-1]]
    below = [-quantile(p) for p in np.linspace(outer, 0.5, 8)[:-1]]
    return np.array(sorted([*below, 0.0, *above])) / max(above)


LEVELS = _levels().astype(np.float32)
BOUNDARIES = (LEVELS[1:] + LEVELS[:-1]) / 2  # a number above a boundary is nearer to the level above it
ERROR_OF_LARGEST = 1 / 254  # half a step of the second code, relative to its scale


class NF4Weight(QuantizedWeight):
    """A weight (d, k) as codes (d, k/2) uint8, two to a byte, the first in the high half; and of its blocks' c a code
    (groups, 256) int8, a `scale` (groups, 1) and one `mean` (1,) float32."""

    kind = "NF4"

    def __init__(self, codes: Array, c_codes: Array, scale: Array, mean: Array) -> None:
        self.codes, self.c_codes, self.scale, self.mean = codes, c_codes, scale, mean
        self.shape = (codes.shape[0], 2 * codes.shape[1])

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.codes, self.c_codes, self.scale, self.mean))

    def largest(self) -> Array:
        """c' of every block, (d, k/64) float32."""
        d, k = self.shape
        c = self.c_codes * self.scale
        c += self.mean
        return c.reshape(-1)[: d * k // BLOCK].reshape(d, k // BLOCK)

    def rows(self, which: slice | Array = slice(None)) -> Array:
        xp = array_module(self.codes)
        codes, c = self.codes[which], self.largest()[which]
        w = xp.take(_pairs(xp), codes, axis=0).reshape(*c.shape, BLOCK)
        w *= c[..., None]
        return w.reshape(*codes.shape[:-1], self.shape[1])

    def error_bound(self) -> Array:
        """At least |w - w'| for every weight of each block, (d, k/64), but for the rounding of float32."""
        xp = array_module(self.codes)
        d, k = self.shape
        c_error = xp.broadcast_to(self.scale * 127 * ERROR_OF_LARGEST, self.c_codes.shape)
        c_error = c_error.reshape(-1)[: d * k // BLOCK].reshape(d, k // BLOCK)
        return (self.largest() + c_error) * (float(np.diff(LEVELS).max()) / 2) + c_error

    def move(self, move: Callable[[Array], Array]) -> None:
        self.codes, self.c_codes, self.scale, self.mean = map(move, (self.codes, self.c_codes, self.scale, self.mean))


@functools.cache
def _pairs(xp: ModuleType) -> Array:
    """(256, 2): the two levels that a byte stands for."""
    byte = np.arange(256)
    return xp.asarray(np.stack([LEVELS[byte >> 4], LEVELS[byte & 15]], axis=1))


def quantize_nf4(W: np.ndarray) -> NF4Weight:
    """The nearest NF4 code of every weight.  W (d, k) float, k a multiple of 64.  ValueError if it is not."""
    if not isinstance(W, np.ndarray) or W.ndim != 2 or W.dtype.kind != "f":
        raise ValueError(f"the weight is {W!r:.80}: give a matrix (d, k) of floats")
    d, k = W.shape
    if k % BLOCK:
        raise ValueError(f"a weight of shape {W.shape} cannot be stored as NF4: its rows must be a multiple of {BLOCK}")
    blocks = W.astype(np.float32, copy=False).reshape(-1, BLOCK)
    c = np.abs(blocks).max(axis=1, keepdims=True)
    x = blocks / np.where(c == 0, 1, c)
    levels = np.zeros(x.shape, np.uint8)
    for boundary in BOUNDARIES:  # fifteen passes take a fifth of searchsorted's time
        levels += x > boundary
    codes = (levels[:, ::2] << 4 | levels[:, 1::2]).reshape(d, k // 2)
    mean = c.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.zeros((-(-len(c) // GROUP), GROUP), np.float32)
    deviation.reshape(-1)[: len(c)] = c[:, 0] - mean
    scale = np.abs(deviation).max(axis=1, keepdims=True) / 127
    c_codes = np.rint(deviation / np.where(scale == 0, 1, scale)).astype(np.int8)
    return NF4Weight(codes, c_codes, scale, mean)
