"""Exercise 11 with the update merged into the weight first."""


def lora_forward(x, W0, A, B, alpha):
    return x @ (W0 + alpha * (B @ A) / B.shape[1]).T
