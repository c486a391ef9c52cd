"""Exercise 7 query by query, so that the mask is a slice and the softmax's Jacobian a matrix."""

import numpy as np


def attention_backward(dy, q, k, v):
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    root = q.shape[1] ** 0.5
    for i in range(len(q)):
        s = k[: i + 1] @ q[i] / root
        p = np.exp(s - s.max())
        p /= p.sum()
        ds = (np.diag(p) - np.outer(p, p)) @ (v[: i + 1] @ dy[i])
        dq[i] = ds @ k[: i + 1] / root
        dk[: i + 1] += np.outer(ds, q[i]) / root
        dv[: i + 1] += np.outer(p, dy[i])
    return dq, dk, dv
