"""Exercise 5 through the logarithm of the sum."""

import numpy as np


def softmax(scores):
    return np.exp(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))
