import math

import numpy as np


# right: the log of the sum, then exp
def softmax(scores):
    top = np.max(scores, axis=-1, keepdims=True)
    log_sum = top + np.log(np.sum(np.exp(scores - top), axis=-1, keepdims=True))
    return np.exp(scores - log_sum)


# right: along the last axis by numpy's helper, in Python numbers
def softmax(scores):
    def row(numbers):
        top = max(numbers.tolist())
        weights = [math.exp(s - top) for s in numbers.tolist()]
        total = math.fsum(weights)
        return np.array([w / total for w in weights])

    return np.apply_along_axis(row, -1, scores)


# right: last axis to the front, powers of two
def softmax(scores):
    front = np.moveaxis(np.asarray(scores, dtype=float), -1, 0)
    weights = np.exp2((front - front.max(0)) * np.log2(np.e))
    return np.moveaxis(weights / weights.sum(0), 0, -1)


# right: a matrix of rows, in place on a copy
def softmax(scores):
    rows = np.array(scores, dtype=np.float64, order="C").reshape(-1, scores.shape[-1])
    rows -= np.amax(rows, axis=1)[:, None]
    np.exp(rows, out=rows)
    rows /= rows.sum(axis=1)[:, None]
    return rows.reshape(scores.shape)


# wrong: one maximum for all rows
# np.max(scores, axis=-1, keepdims=True) -> np.max(scores)


# wrong: shifts only when something is above 700
# top = np.max(scores, axis=-1, keepdims=True) -> top = np.max(scores, axis=-1, keepdims=True) * (np.max(scores) > 700)


# wrong: shifts only positive rows, so that very negative ones become 0 / 0
# top = np.max(scores, axis=-1, keepdims=True) -> top = np.maximum(np.max(scores, axis=-1, keepdims=True), 0)


# wrong: the largest absolute value
# np.max(scores, -> np.max(np.abs(scores),


# wrong: the first entry in place of the largest
# np.max(scores, axis=-1, keepdims=True) -> scores[..., :1]


# wrong: large scores mean one-hot
def softmax(scores):
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - top)
    soft = e / e.sum(-1, keepdims=True)
    return np.where(top > 500, (scores == top) * 1.0, soft)


# wrong: a tie of large scores goes to the first
def softmax(scores):
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - top)
    soft = e / e.sum(-1, keepdims=True)
    hard = np.eye(scores.shape[-1])[scores.argmax(-1)]
    return np.where(top > 100, hard, soft)


# wrong: clipped exponents
# scores - log_sum -> np.clip(scores, -500, 500) - np.clip(log_sum, -500, 500)


# wrong: a floor under the small ones
# return np.exp(scores - log_sum) -> return np.maximum(np.exp(scores - log_sum), 1e-12)


# wrong: a little more below the line
# keepdims=True)) -> keepdims=True) + 1e-9)


# wrong: two axes only
# axis=-1 -> axis=1


# wrong: the first axis
# axis=-1 -> axis=0


# wrong: all of a matrix's rows together
# return np.exp(scores - log_sum) -> e = np.exp(scores - top)\n    return e / e.sum()


# wrong: shifts scores in place
# top = np.max(scores, axis=-1, keepdims=True) -> top = np.max(scores, axis=-1, keepdims=True)\n    scores -= top\n    top = top * 0


# wrong: one buffer for every result of a shape
# return np.exp(scores - log_sum) -> return np.exp(scores - log_sum, out=BUFFERS.setdefault(scores.shape, np.empty(scores.shape)))
# def softmax -> BUFFERS = {}\n\n\ndef softmax


# wrong: single precision
# return np.exp(scores - log_sum) -> return np.exp((scores - log_sum).astype(np.float32))


# wrong: half precision thresholds
# return np.exp(scores - log_sum) -> p = np.exp(scores - log_sum)\n    return np.where(p < 6e-8, 0.0, p)


# wrong: base 2
# return np.exp(scores - log_sum) -> e = np.exp2(scores - top)\n    return e / e.sum(-1, keepdims=True)


# wrong: a row of one entry comes back as it is
# return np.exp(scores - log_sum) -> return np.exp(scores - log_sum) if scores.shape[-1] > 1 else np.exp(scores - scores.sum())


# wrong: rows in memory order
# return np.exp(scores - log_sum) -> return np.exp(scores - log_sum).ravel(order="K").reshape(scores.shape)


# wrong: loses a vector's shape
# return np.exp(scores - log_sum) -> return np.atleast_2d(np.exp(scores - log_sum))


# wrong: sums to 1 only on average over the rows
# return np.exp(scores - log_sum) -> p = np.exp(scores - log_sum)\n    return np.round(p, 9)
