"""Exercise 6 (lesson 2): softmax and cross-entropy together, forward and backward."""

import numpy as np


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean negative log-likelihood of the targets in nats, and its gradient at the logits.

        L = 1/n sum_i -log softmax(logits[i])[targets[i]]

    logits    (n, v), numbers of any size
    targets   (n,), whole numbers from 0 to v - 1

    Returns L, a number, and dL/dlogits (n, v).
    """
    raise NotImplementedError
