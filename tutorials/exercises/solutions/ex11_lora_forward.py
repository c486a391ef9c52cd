"""Exercise 11: through the narrow middle, so that B A is never formed."""


def lora_forward(x, W0, A, B, alpha):
    r = A.shape[0]
    return x @ W0.T + (alpha / r) * (x @ A.T) @ B.T
