"""Exercise 10 (lesson 4): the best update of rank r (Eckart and Young 1936)."""

import numpy as np


def truncate(dW: np.ndarray, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Two factors whose product B A is as close to dW as rank r allows (in the Frobenius norm).

    dW   (d, k)
    r    from 1 to min(d, k)

    Returns B (d, r) and A (r, k). How the singular values are shared out between them is up to you.
    (np.linalg.svd(dW, full_matrices=False) gives U (d, m), the singular values (m,), largest first, and V^T (m, k).)
    """
    raise NotImplementedError
