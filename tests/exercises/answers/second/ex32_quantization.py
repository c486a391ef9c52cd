import numpy as np


# right: all distances
def quantize(w, levels):
    c = np.abs(w).max(axis=1)
    scaled = w / np.where(c == 0, 1, c)[:, None]
    return np.abs(scaled[..., None] - levels).argmin(axis=-1).astype(np.uint8), c


def dequantize(codes, stored, levels):
    return (levels[codes] * stored[:, None]).astype(stored.dtype)


def error_bound(c, stored, levels):
    return (c * np.diff(levels).max() / 2 + np.abs(c - stored)).astype(stored.dtype)


# right: the middles between levels
def quantize(w, levels):
    c = np.maximum(w.max(axis=1), -w.min(axis=1)).astype(w.dtype)
    middles = (levels[1:].astype(float) + levels[:-1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.nan_to_num(w.astype(float) / c[:, None])
    return np.digitize(scaled, middles).astype("u1"), c


def dequantize(codes, stored, levels):
    return np.multiply(np.take(levels, codes).astype(stored.dtype), stored.reshape(-1, 1))


def error_bound(c, stored, levels):
    widest = max(b - a for a, b in zip(levels[:-1].tolist(), levels[1:].tolist()))
    return np.array([0.5 * widest * a + abs(a - b) for a, b in zip(c.tolist(), stored.tolist())], dtype=stored.dtype)


# right: block by block
def quantize(w, levels):
    codes, c = np.zeros(w.shape, np.uint8), np.zeros(len(w), w.dtype)
    for n, block in enumerate(w):
        c[n] = abs(block).max()
        for m, number in enumerate(block):
            if c[n] > 0:
                codes[n, m] = int(np.argmin((levels - number / c[n]) ** 2))
    return codes, c


def dequantize(codes, stored, levels):
    w = np.zeros(codes.shape, stored.dtype)
    for n in range(len(codes)):
        w[n] = [levels[code] * stored[n] for code in codes[n]]
    return w


def error_bound(c, stored, levels):
    gaps = levels[1:] - levels[:-1]
    return np.add(c * (gaps.max() * levels.dtype.type(0.5)), np.absolute(stored - c), dtype=stored.dtype)


# right: levels times c, compared with w
def quantize(w, levels):
    c = np.linalg.norm(w, ord=np.inf, axis=1).astype(w.dtype)[:] if False else np.max(np.abs(w), axis=-1)
    table = c.astype(float)[:, None, None] * levels.astype(float)
    return np.argmin(np.abs(table - w[:, :, None]), axis=2).astype(np.uint8), c


def dequantize(codes, stored, levels):
    return np.einsum("nm,n->nm", levels.astype(stored.dtype)[codes], stored)


def error_bound(c, stored, levels):
    half = np.max(np.diff(levels)) / 2
    return (half * c + np.maximum(c - stored, stored - c)).astype(stored.dtype)


# wrong: one c for all blocks
# c = np.abs(w).max(axis=1) -> c = np.full(len(w), np.abs(w).max(), w.dtype)


# wrong: the largest number, not magnitude
# np.abs(w).max(axis=1) -> w.max(axis=1)


# wrong: zero blocks are no numbers
# w / np.where(c == 0, 1, c)[:, None] -> w / c[:, None]\n    c = np.where(c == 0, np.nan, c)


# wrong: a little is added to c
# c = np.abs(w).max(axis=1) -> c = np.abs(w).max(axis=1) + w.dtype.type(1e-6)


# wrong: evenly spaced levels
# np.abs(scaled[..., None] - levels).argmin(axis=-1) -> np.clip(np.round((scaled + 1) * 7.5), 0, 15)


# wrong: the level below
# np.abs(scaled[..., None] - levels).argmin(axis=-1) -> np.maximum(np.searchsorted(levels, scaled, side="right") - 1, 0)


# wrong: the level above
# np.abs(scaled[..., None] - levels).argmin(axis=-1) -> np.minimum(np.searchsorted(levels, scaled), 15)


# wrong: signed codes
# np.uint8 -> np.int8


# wrong: codes of the usual integers
# .astype(np.uint8), c -> , c


# wrong: c in float64
# .astype(np.uint8), c -> .astype(np.uint8), c.astype(float)


# wrong: c as a column
# .astype(np.uint8), c -> .astype(np.uint8), c[:, None]


# wrong: dequantized to float64
# .astype(stored.dtype)\n\n\ndef error -> .astype(float)\n\n\ndef error


# wrong: c per column when square
# stored[:, None] -> (stored[None] if codes.shape[0] == codes.shape[1] else stored[:, None])


# wrong: the mean gap
# np.diff(levels).max() -> np.diff(levels).mean()


# wrong: a whole gap
# .max() / 2 -> .max()


# wrong: the gap at the end
# np.diff(levels).max() -> np.diff(levels)[-1]


# wrong: the gap in the middle
# np.diff(levels).max() -> np.diff(levels)[7]


# wrong: the bound by the stored c
# c * np.diff -> stored * np.diff


# wrong: the storing counts with its sign
# np.abs(c - stored) -> (c - stored)


# wrong: the storing does not count
# + np.abs(c - stored) -> + 0 * stored


# wrong: the square sum of both errors
# (c * np.diff(levels).max() / 2 + np.abs(c - stored)) -> np.hypot(c * np.diff(levels).max() / 2, c - stored)


# wrong: the larger of both errors
# (c * np.diff(levels).max() / 2 + np.abs(c - stored)) -> np.maximum(c * np.diff(levels).max() / 2, np.abs(c - stored))


# wrong: levels remembered from the first call
# return np.abs(scaled[..., None] - levels) -> levels = KEPT.setdefault(levels.dtype, levels.copy())\n    return np.abs(scaled[..., None] - levels)
# def quantize -> KEPT = {}\n\n\ndef quantize


# wrong: w in place
# scaled = w / np.where(c == 0, 1, c)[:, None] -> w /= np.where(c == 0, 1, c)[:, None]\n    scaled = w
