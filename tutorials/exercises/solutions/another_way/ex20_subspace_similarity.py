"""Exercise 20 by projections: ||U1^T U2||_F^2 = trace(P1 P2), from the eigenvectors of A^T A."""

import numpy as np


def projection(A, i):
    U = np.linalg.eigh(A.T.astype(np.float64) @ A)[1][:, ::-1][:, :i]
    return U @ U.T


def subspace_similarity(A1, A2, i, j):
    return np.trace(projection(A1, i) @ projection(A2, j)) / min(i, j)
