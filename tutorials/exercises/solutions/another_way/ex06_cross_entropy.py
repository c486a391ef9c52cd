"""Exercise 6 with a one-hot matrix."""

import numpy as np


def cross_entropy(logits, targets):
    onehot = np.eye(logits.shape[1])[targets]
    log_p = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    return -(onehot * log_p).sum() / len(logits), (np.exp(log_p) - onehot) / len(logits)
