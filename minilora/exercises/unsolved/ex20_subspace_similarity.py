"""Exercise 20 (lesson 9): do two runs of LoRA learn the same subspace? (Hu et al. 2021, section 7.2, equation 4)"""

import numpy as np


def subspace_similarity(A1: np.ndarray, A2: np.ndarray, i: int, j: int) -> float:
    """phi(A1, A2, i, j) = ||U1_i^T U2_j||_F^2 / min(i, j), from 0 (orthogonal) to 1 (one contains the other).

    A1, A2   (r1, k) and (r2, k), two trained factors A
    i, j     how many directions to compare: 1 <= i <= r1, 1 <= j <= r2

    U1_i (k, i) holds the i leading right-singular vectors of A1 as columns, U2_j (k, j) those of A2.
    """
    raise NotImplementedError
