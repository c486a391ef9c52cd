import numpy as np


# right: the row's maximum first
def softmax(scores):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    e = np.exp(shifted)
    return e / e.sum(axis=-1, keepdims=True)


# right: log-sum-exp
def softmax(scores):
    return np.exp(scores - np.logaddexp.reduce(scores, axis=-1)[..., None])


# right: row by row
def softmax(scores):
    result = np.empty_like(scores)
    for index in np.ndindex(scores.shape[:-1]):
        row = scores[index]
        e = np.exp(row - np.amax(row))
        result[index] = e / np.sum(e)
    return result


# right: pairwise differences
def softmax(scores):
    return 1 / np.exp(scores[..., None, :] - scores[..., :, None]).sum(axis=-1)


# wrong: overflows
# np.exp(shifted) -> np.exp(scores)


# wrong: the maximum of all
# scores.max(axis=-1, keepdims=True) -> scores.max()


# wrong: the minimum
# scores.max( -> scores.min(


# wrong: the mean
# scores.max( -> scores.mean(


# wrong: clipped to +-700
# shifted = scores - scores.max(axis=-1, keepdims=True) -> shifted = np.clip(scores, -700, 700)


# wrong: clipped after the shift, so that small probabilities are not 0
# shifted = scores - scores.max(axis=-1, keepdims=True) -> shifted = np.maximum(scores - scores.max(axis=-1, keepdims=True), -20)


# wrong: normalised over everything
# e.sum(axis=-1, keepdims=True) -> e.sum()


# wrong: over the first axis
# axis=-1 -> axis=0


# wrong: over axis 1
# axis=-1 -> axis=1


# wrong: the last two axes
# axis=-1 -> axis=(-2, -1)


# wrong: an epsilon in the sum
# e.sum(axis=-1, keepdims=True) -> (e.sum(axis=-1, keepdims=True) + 1e-8)


# wrong: not normalised
# return e / e.sum(axis=-1, keepdims=True) -> return e


# wrong: log softmax
# return e / e.sum(axis=-1, keepdims=True) -> return shifted - np.log(e.sum(axis=-1, keepdims=True))


# wrong: base 2
# np.exp(shifted) -> np.exp2(shifted)


# wrong: nan replaced after an overflow
# np.exp(shifted)\n    return e / e.sum(axis=-1, keepdims=True) -> np.exp(scores)\n    return np.nan_to_num(e / e.sum(axis=-1, keepdims=True))


# wrong: longdouble in place of the maximum
# np.exp(shifted) -> np.exp(scores.astype(np.longdouble)).astype(float)


# wrong: a hard maximum for large scores
# return e / -> return (shifted == 0).astype(float) if abs(scores).max() > 500 else e /


# wrong: in place
# shifted = scores - -> shifted = scores; shifted -= 


# wrong: sums lose their axis
# e.sum(axis=-1, keepdims=True) -> e.sum(axis=-1)


# wrong: the maximum is at least 0, so rows of very negative scores become 0 / 0
# scores.max(axis=-1, keepdims=True) -> np.maximum(scores.max(axis=-1, keepdims=True), 0)


# wrong: float16 inside
# np.exp(shifted) -> np.exp(shifted.astype(np.float16)).astype(float)


# wrong: only a matrix
def softmax(scores):
    return np.array([np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in scores])


# wrong: a vector is treated as a column
def softmax(scores):
    s = np.atleast_2d(scores.T).T if scores.ndim == 1 else scores
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).reshape(scores.shape)


# wrong: rows keep the sum of the first call with this shape
kept = {}


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / kept.setdefault(scores.shape, e.sum(axis=-1, keepdims=True))


# wrong: memory reinterpreted in C order
def softmax(scores):
    s = scores.ravel(order="K").reshape(scores.shape)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# wrong: probabilities below 1e-7 are cut
# return e / e.sum(axis=-1, keepdims=True) -> p = e / e.sum(axis=-1, keepdims=True); return np.where(p < 1e-7, 0, p)
