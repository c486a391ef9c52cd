"""Exercise 25 as one product: the two updates stacked along the rank."""

import numpy as np


def switch(W, old, new):
    (A1, B1, alpha1), (A2, B2, alpha2) = old, new
    s1, s2 = alpha1 / len(A1), alpha2 / len(A2)
    return W + np.hstack([-s1 * B1, s2 * B2]) @ np.vstack([A1, A2])
