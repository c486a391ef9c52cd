"""Exercise 1 with the indices written out."""

import numpy as np


def linear_backward(dy, x, W):
    return np.einsum("nd,dk->nk", dy, W), np.einsum("nd,nk->dk", dy, x), np.ones(len(dy)) @ dy
