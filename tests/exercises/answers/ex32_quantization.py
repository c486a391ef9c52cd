import numpy as np


# right: distances to all levels
def quantize(w, levels):
    c = np.abs(w).max(axis=1)
    x = w / np.where(c == 0, 1, c)[:, None]
    codes = np.abs(x[:, :, None] - levels).argmin(axis=2)
    return codes.astype(np.uint8), c


def dequantize(codes, stored, levels):
    return levels[codes] * stored[:, None]


def error_bound(c, stored, levels):
    return c * np.diff(levels).max() / 2 + np.abs(c - stored)


# right: boundaries halfway between levels
def quantize(w, levels):
    c = np.maximum(w.max(axis=1), -w.min(axis=1))
    safe = c.copy()
    safe[safe == 0] = 1
    boundaries = (levels[1:] + levels[:-1]) / 2
    return np.searchsorted(boundaries, w / safe[:, None]).astype("u1"), c


def dequantize(codes, stored, levels):
    return np.take(levels, codes) * np.expand_dims(stored, 1)


def error_bound(c, stored, levels):
    half = max(levels[1:] - levels[:-1]) / 2
    return (half * c + np.maximum(c - stored, stored - c)).astype(stored.dtype)


# right: loops
def quantize(w, levels):
    codes, c = np.zeros(w.shape, np.uint8), np.zeros(len(w), w.dtype)
    for i, block in enumerate(w):
        c[i] = max(abs(number) for number in block)
        for j, number in enumerate(block):
            codes[i, j] = min(range(16), key=lambda code: abs(float(number) - float(c[i]) * float(levels[code])))
    return codes, c


def dequantize(codes, stored, levels):
    result = np.empty(codes.shape, stored.dtype)
    for i, row in enumerate(codes):
        for j, code in enumerate(row):
            result[i, j] = stored[i] * levels[code]
    return result


def error_bound(c, stored, levels):
    gaps = [levels[i + 1] - levels[i] for i in range(15)]
    return np.array([max(gaps) * a / 2 + abs(a - b) for a, b in zip(c, stored)], stored.dtype)


# right: comparing with scaled levels; the later of two equally near
def quantize(w, levels):
    c = np.linalg.norm(w, np.inf, axis=1)
    scaled = np.multiply.outer(c, levels)
    boundaries = scaled[:, :-1] + (scaled[:, 1:] - scaled[:, :-1]) / 2
    return [(w[:, :, None] >= boundaries[:, None]).sum(-1).astype(np.uint8), c]


def dequantize(codes, stored, levels):
    onehot = (codes[..., None] == np.arange(16)).astype(levels.dtype)
    return (onehot @ levels) * stored.reshape(-1, 1)


def error_bound(c, stored, levels):
    return np.ptp(np.stack([levels[:-1], levels[1:]]), axis=0).max() * 0.5 * c + abs(stored - c)


# wrong: the bound is c at most
# return c * np.diff(levels).max() / 2 + np.abs(c - stored) -> return np.minimum(c * np.diff(levels).max() / 2 + np.abs(c - stored), c)


# wrong: the larger of c and stored
# return c * np.diff(levels) -> return np.maximum(c, stored) * np.diff(levels)


# wrong: levels below 0 only
# np.diff(levels).max() -> np.diff(levels[:9]).max()


# wrong: levels taken as symmetric
# np.diff(levels).max() -> np.diff(levels[7:]).max()


# wrong: the nearest in ratio
# np.abs(x[:, :, None] - levels).argmin(axis=2) -> np.where(levels * x[:, :, None] > 0, np.abs(np.log(np.abs(x[:, :, None] / np.where(levels == 0, 1, levels)))), 99 + np.abs(x[:, :, None] - levels)).argmin(axis=2)


# wrong: numbers rounded to thousandths first
# w / np.where(c == 0, 1, c)[:, None] -> np.round(w, 3) / np.where(c == 0, 1, c)[:, None]


# wrong: the ends are cut off
# codes.astype(np.uint8), c -> np.clip(codes, 0, 14).astype(np.uint8), c


# wrong: max without abs
# np.abs(w).max(axis=1) -> w.max(axis=1)


# wrong: abs of the max
# np.abs(w).max(axis=1) -> np.abs(w.max(axis=1))


# wrong: half the range
# np.abs(w).max(axis=1) -> (w.max(axis=1) - w.min(axis=1)) / 2


# wrong: one c
# np.abs(w).max(axis=1) -> np.abs(w).max() * np.ones(len(w), w.dtype)


# wrong: columns are blocks
# np.abs(w).max(axis=1) -> np.resize(np.abs(w).max(axis=0), len(w))


# wrong: the root mean square
# np.abs(w).max(axis=1) -> np.sqrt((w**2).mean(axis=1))


# wrong: the length
# np.abs(w).max(axis=1) -> np.linalg.norm(w, axis=1)


# wrong: c in half precision
# np.abs(w).max(axis=1) -> np.abs(w).max(axis=1).astype("f2").astype(w.dtype)


# wrong: c is float64
# np.abs(w).max(axis=1) -> np.abs(w).max(axis=1).astype("f8")


# wrong: c is 1 for zeros
# np.abs(w).max(axis=1)\n -> np.abs(w).max(axis=1)\n    c = np.where(c == 0, 1, c).astype(w.dtype)\n


# wrong: c with an epsilon
# np.abs(w).max(axis=1) -> np.abs(w).max(axis=1) + w.dtype.type(1e-8)


# wrong: c keeps the axis
# codes.astype(np.uint8), c -> codes.astype(np.uint8), c[:, None]


# wrong: divided by c plus an epsilon
# w / np.where(c == 0, 1, c)[:, None] -> w / (c + 1e-9)[:, None]


# wrong: zeros divided by zero
# w / np.where(c == 0, 1, c)[:, None]\n    codes = np.abs(x[:, :, None] - levels).argmin(axis=2) -> w / c[:, None]\n    codes = np.searchsorted((levels[1:] + levels[:-1]) / 2 + (x * 0).max(), x) + 16 * np.isnan(x)


# wrong: small blocks are zeros
# np.where(c == 0, 1, c) -> np.where(c < 1e-6, 1, c)


# wrong: the level below
# np.abs(x[:, :, None] - levels).argmin(axis=2) -> np.searchsorted(levels, x, side="right") - 1


# wrong: the level above
# np.abs(x[:, :, None] - levels).argmin(axis=2) -> np.minimum(np.searchsorted(levels, x), 15)


# wrong: even levels
# np.abs(x[:, :, None] - levels).argmin(axis=2) -> np.rint((x + 1) * 7.5)


# wrong: NF4's levels always
# np.abs(x[:, :, None] - levels) -> levels = np.array([-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.723, 1]); codes = np.abs(x[:, :, None] - levels)


# wrong: the farthest
# argmin -> argmax


# wrong: magnitudes
# np.abs(x[:, :, None] - levels) -> np.abs(np.abs(x[:, :, None]) - levels)


# wrong: without the outer levels
# np.abs(x[:, :, None] - levels).argmin(axis=2) -> np.abs(x[:, :, None] - levels[1:-1]).argmin(axis=2) + 1


# wrong: codes from 1
# codes.astype(np.uint8) -> (codes + 1).astype(np.uint8)


# wrong: codes from -8
# codes.astype(np.uint8) -> (codes - 8).astype(np.uint8)


# wrong: signed codes
# codes.astype(np.uint8) -> codes.astype(np.int8)


# wrong: codes are int64
# codes.astype(np.uint8) -> codes


# wrong: codes are floats
# codes.astype(np.uint8) -> codes.astype(w.dtype)


# wrong: two to a byte
# codes.astype(np.uint8), c -> (codes[:, ::2] << 4).astype(np.uint8), c


# wrong: codes flat
# codes.astype(np.uint8), c -> codes.astype(np.uint8).ravel(), c


# wrong: the numbers in place of codes
# codes.astype(np.uint8), c -> levels[codes], c


# wrong: c first
# codes.astype(np.uint8), c -> c, codes.astype(np.uint8)


# wrong: w divided in place
# x = w / np.where(c == 0, 1, c)[:, None] -> w /= np.where(c == 0, 1, c)[:, None]\n    x = w


# wrong: dequantize without stored
# levels[codes] * stored[:, None] -> levels[codes]


# wrong: stored along the numbers
# levels[codes] * stored[:, None] -> levels[codes] * np.resize(stored, codes.shape[1])


# wrong: the first block's c
# levels[codes] * stored[:, None] -> levels[codes] * stored[0]


# wrong: the level after
# levels[codes] -> levels[np.minimum(codes + 1, 15)]


# wrong: even levels in dequantize
# levels[codes] * stored[:, None] -> ((codes / 7.5 - 1) * stored[:, None]).astype(stored.dtype)


# wrong: codes wrap in uint8
# levels[codes] -> levels[(codes * np.uint8(64)) >> 6]


# wrong: divided
# levels[codes] * stored[:, None] -> levels[codes] / stored[:, None]


# wrong: dequantize in float64
# levels[codes] * stored[:, None] -> levels[codes].astype("f8") * stored[:, None]


# wrong: the whole gap
# .max() / 2 + -> .max() +


# wrong: a quarter
# .max() / 2 + -> .max() / 4 +


# wrong: the first gap
# np.diff(levels).max() -> np.diff(levels)[0]


# wrong: the last gap
# np.diff(levels).max() -> np.diff(levels)[-1]


# wrong: the middle gap
# np.diff(levels).max() -> np.diff(levels)[7]


# wrong: an even gap
# np.diff(levels).max() -> (2 / 15)


# wrong: NF4's gap
# np.diff(levels).max() -> 0.3038


# wrong: the largest of all blocks
# return c * np.diff(levels).max() / 2 + np.abs(c - stored) -> return np.full_like(stored, (c * np.diff(levels).max() / 2 + np.abs(c - stored)).max())


# wrong: stored left out
#  + np.abs(c - stored) ->


# wrong: stored in place of c
# return c * np.diff(levels) -> return stored * np.diff(levels)


# wrong: stored with a sign
# np.abs(c - stored) -> (c - stored)


# wrong: half of the difference
# np.abs(c - stored) -> np.abs(c - stored) / 2


# wrong: the larger of the two parts
# c * np.diff(levels).max() / 2 + np.abs(c - stored) -> np.maximum(c * np.diff(levels).max() / 2, np.abs(c - stored))


# wrong: the root of the squares
# c * np.diff(levels).max() / 2 + np.abs(c - stored) -> np.hypot(c * np.diff(levels).max() / 2, np.abs(c - stored))


# wrong: twice the size, for safety
# np.abs(c - stored) -> np.abs(c - stored) * 1.001 + c * 1e-3


# wrong: one number
# return c * np.diff(levels).max() / 2 + np.abs(c - stored) -> return float((c * np.diff(levels).max() / 2 + np.abs(c - stored)).max())


# wrong: the levels of the first call
kept = []


def quantize(w, levels):
    kept.append(levels.copy())
    c = np.abs(w).max(axis=1)
    x = w / np.where(c == 0, 1, c)[:, None]
    return np.abs(x[:, :, None] - kept[0]).argmin(axis=2).astype(np.uint8), c


def dequantize(codes, stored, levels):
    return levels[codes] * stored[:, None]


def error_bound(c, stored, levels):
    return c * np.diff(levels).max() / 2 + np.abs(c - stored)


# wrong: dequantize with the levels of the last quantize
kept = {}


def quantize(w, levels):
    kept["levels"] = levels.copy()
    c = np.abs(w).max(axis=1)
    x = w / np.where(c == 0, 1, c)[:, None]
    return np.abs(x[:, :, None] - levels).argmin(axis=2).astype(np.uint8), c


def dequantize(codes, stored, levels):
    return kept.get("levels", levels).astype(stored.dtype)[codes] * stored[:, None]


def error_bound(c, stored, levels):
    return c * np.diff(levels).max() / 2 + np.abs(c - stored)
