"""Exercise 13 through the gradient of the full weight, dW = dy^T x: dA = s B^T dW, dB = s dW A^T."""


def lora_backward(dy, x, W0, A, B, alpha):
    s, dW = alpha / B.shape[1], dy.T @ x
    return dy @ (W0 + s * B @ A), s * B.T @ dW, s * dW @ A.T
