"""Exercise 20: the right-singular vectors are the rows of V^T."""

import numpy as np


def subspace_similarity(A1, A2, i, j):
    V1 = np.linalg.svd(A1, full_matrices=False)[2][:i]
    V2 = np.linalg.svd(A2, full_matrices=False)[2][:j]
    return np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j)
