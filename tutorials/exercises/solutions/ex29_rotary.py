"""Exercise 29: a rotation's transpose is the rotation back."""

import numpy as np


def rotary(x, start, theta):
    T, D = x.shape[-2:]
    half = D // 2
    angle = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(half) / D)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotary_backward(dy, start, theta):
    T, D = dy.shape[-2:]
    half = D // 2
    angle = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(half) / D)
    cos, sin = np.cos(angle).astype(dy.dtype), np.sin(angle).astype(dy.dtype)
    a, b = dy[..., :half], dy[..., half:]
    return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)
