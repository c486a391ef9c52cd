"""Exercise 6: d(log sum exp)/dlogits is the softmax, and the target's own logit has slope -1."""

import numpy as np


def cross_entropy(logits, targets):
    n, rows = len(targets), np.arange(len(targets))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=-1))
    loss = (log_sum - shifted[rows, targets]).mean()
    dlogits = np.exp(shifted - log_sum[:, None])
    dlogits[rows, targets] -= 1
    return loss, dlogits / n
