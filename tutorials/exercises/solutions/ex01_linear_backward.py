"""Exercise 1: y = x W^T + b, backwards."""


def linear_backward(dy, x, W):
    dx = dy @ W
    dW = dy.T @ x
    db = dy.sum(axis=0)
    return dx, dW, db
