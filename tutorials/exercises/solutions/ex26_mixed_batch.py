"""Exercise 26: the base for all rows at once, then each adapter for its own rows."""


def mixed_forward(x, which, W0, adapters):
    y = x @ W0.T
    for i, (A, B, alpha) in enumerate(adapters):
        rows = which == i
        y[rows] += alpha / A.shape[0] * (x[rows] @ A.T) @ B.T
    return y
