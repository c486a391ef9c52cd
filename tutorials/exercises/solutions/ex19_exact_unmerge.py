"""Exercise 19: what rounding has taken, subtracting cannot give back; so keep W0 itself."""


def merge(W0, A, B, alpha):
    return W0 + (alpha / A.shape[0]) * (B @ A), W0.copy()


def unmerge(W, kept):
    return kept
