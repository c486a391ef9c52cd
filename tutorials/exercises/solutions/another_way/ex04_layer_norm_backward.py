"""Exercise 4 with the whole Jacobian of each row."""

import numpy as np


def layer_norm_backward(dy, x, gamma, eps):
    n, d = x.shape
    dx, xhat = np.zeros((n, d)), np.zeros((n, d))
    for i in range(n):
        centred = x[i] - x[i].mean()
        std = np.sqrt((centred**2).mean() + eps)
        xhat[i] = centred / std
        jacobian = (np.eye(d) - 1 / d - np.outer(xhat[i], xhat[i]) / d) / std
        dx[i] = (dy[i] * gamma) @ jacobian
    return dx, np.einsum("nd,nd->d", dy, xhat), np.einsum("nd->d", dy)
