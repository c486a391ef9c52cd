"""Exercise 32: half the widest gap, and what the stored scale is out by."""

import numpy as np


def quantize(w, levels):
    c = np.abs(w).max(axis=1)
    x = w / np.where(c == 0, 1, c)[:, None]
    codes = np.abs(x[:, :, None] - levels).argmin(axis=2)
    return codes.astype(np.uint8), c


def dequantize(codes, stored, levels):
    return levels[codes] * stored[:, None]


def error_bound(c, stored, levels):
    return c * np.diff(levels).max() / 2 + np.abs(c - stored)
