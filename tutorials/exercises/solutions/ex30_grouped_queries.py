"""Exercise 30: repeat, do not tile; and what was copied is summed on the way back."""

import numpy as np


def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    k, v = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(D)
    future = np.arange(S)[None, :] > np.arange(S - T, S)[:, None]
    scores[:, future] = -np.inf
    P = np.exp(scores - scores.max(axis=-1, keepdims=True))
    P /= P.sum(axis=-1, keepdims=True)
    return P @ v


def shared_backward(dkeys, K):
    H, S, D = dkeys.shape
    return dkeys.reshape(K, H // K, S, D).sum(axis=1)
