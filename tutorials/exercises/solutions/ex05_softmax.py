"""Exercise 5: a constant taken off all scores of a row changes nothing, so take off the largest."""

import numpy as np


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
