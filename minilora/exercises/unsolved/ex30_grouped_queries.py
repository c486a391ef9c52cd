"""Exercise 30 (lesson 16): attention whose query heads share keys and values (Ainslie et al. 2023)."""

import numpy as np


def grouped_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal attention of H query heads over K heads of keys and values.

    q      (H, T, D), H a multiple of K: neighbours share, so heads 0 ... H/K - 1 use k[0] and v[0], the next H/K
           heads use k[1] and v[1], and so on
    k, v   (K, S, D) with S >= T: the T queries are the last T of the S positions, and each sees the keys up to and
           including its own position

    The scores are q k^T / sqrt(D); they may be large, so the softmax must not overflow.

    Returns y (H, T, D).
    """
    raise NotImplementedError


def shared_backward(dkeys: np.ndarray, K: int) -> np.ndarray:
    """The gradient of shared keys from the gradients that each query head sends back.

    dkeys (H, S, D) is dL/dkeys, where keys (H, S, D) are the k (K, S, D) as each query head uses them.

    Returns dk (K, S, D).
    """
    raise NotImplementedError
