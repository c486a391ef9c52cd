import numpy as np


# right: halves
def rotary(x, start, theta):
    T, D = x.shape[-2:]
    angle = (start + np.arange(T))[:, None] * theta ** (-2.0 * np.arange(D // 2) / D)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    a, b = x[..., : D // 2], x[..., D // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotary_backward(dy, start, theta):
    T, D = dy.shape[-2:]
    angle = (start + np.arange(T))[:, None] * theta ** (-2.0 * np.arange(D // 2) / D)
    cos, sin = np.cos(angle).astype(dy.dtype), np.sin(angle).astype(dy.dtype)
    a, b = dy[..., : D // 2], dy[..., D // 2 :]
    return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)


# right: complex numbers
def rotary(x, start, theta):
    T, D = x.shape[-2:]
    z = x[..., : D // 2] + 1j * x[..., D // 2 :].astype(float)
    t = np.arange(start, start + T, dtype=float)[:, None]
    z = z * np.exp(1j * t / np.power(float(theta), np.arange(0, D, 2) / D))
    return np.concatenate([z.real, z.imag], axis=-1).astype(x.dtype)


def rotary_backward(dy, start, theta):
    T, D = dy.shape[-2:]
    z = dy[..., : D // 2] + 1j * dy[..., D // 2 :].astype(float)
    t = np.arange(start, start + T, dtype=float)[:, None]
    z = z * np.exp(-1j * t / np.power(float(theta), np.arange(0, D, 2) / D))
    return np.concatenate([z.real, z.imag], axis=-1).astype(dy.dtype)


# right: the rotated half, as in Llama's code
def turned(x, start, theta, sign):
    T, D = x.shape[-2:]
    inverse = 1.0 / theta ** (np.arange(0, D, 2) / D)
    angle = np.outer(np.arange(T) + start, np.concatenate([inverse, inverse]))
    half = np.concatenate([-x[..., D // 2 :], x[..., : D // 2]], axis=-1)
    return (x * np.cos(angle) + sign * half * np.sin(angle)).astype(x.dtype)


def rotary(x, start, theta):
    return turned(x, start, theta, 1.0)


def rotary_backward(dy, start, theta):
    return turned(dy, start, theta, -1.0)


# right: a matrix per position
def matrix(t, D, theta):
    R = np.zeros((D, D))
    for i in range(D // 2):
        w = t * float(theta) ** (-2 * i / D)
        R[i, i] = R[i + D // 2, i + D // 2] = np.cos(w)
        R[i, i + D // 2], R[i + D // 2, i] = -np.sin(w), np.sin(w)
    return R


def rotary(x, start, theta):
    y = np.empty_like(x)
    for t in range(x.shape[-2]):
        y[..., t, :] = x[..., t, :] @ matrix(start + t, x.shape[-1], theta).T
    return y


def rotary_backward(dy, start, theta):
    dx = np.empty_like(dy)
    for t in range(dy.shape[-2]):
        dx[..., t, :] = dy[..., t, :] @ matrix(start + t, dy.shape[-1], theta)
    return dx


# wrong: neighbours are pairs
# a, b = x[..., : D // 2], x[..., D // 2 :]\n    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> a, b = x[..., ::2], x[..., 1::2]\n    y = np.empty_like(x)\n    y[..., ::2], y[..., 1::2] = a * cos - b * sin, b * cos + a * sin\n    return y


# wrong: start is not used
# (start + np.arange(T)) -> (0 + np.arange(T))


# wrong: start is not used in the backward
# def rotary_backward(dy, start, theta): -> def rotary_backward(dy, start, theta):\n    start = 0


# wrong: positions count from 1
# (start + np.arange(T)) -> (start + 1 + np.arange(T))


# wrong: every position is the first
# (start + np.arange(T)) -> (start + np.zeros(T))


# wrong: the exponent without the 2
# (-2.0 * np.arange -> (-1.0 * np.arange


# wrong: the usual theta
# theta ** -> 10000.0 **


# wrong: the backward turns forward again
# a * cos + b * sin, b * cos - a * sin -> a * cos - b * sin, b * cos + a * sin


# wrong: the backward scales as well
# [a * cos + b * sin, b * cos - a * sin], axis=-1) -> [a * cos + b * sin, b * cos - a * sin], axis=-1) / 1.001


# wrong: the forward turns backwards
# a * cos - b * sin, b * cos + a * sin -> a * cos + b * sin, b * cos - a * sin
# a * cos + b * sin, b * cos - a * sin], axis=-1)\n\n\ndef -> a * cos + b * sin, b * cos - a * sin], axis=-1)\n\n\ndef


# wrong: float64 comes back
# .astype(x.dtype) ->


# wrong: angles in float32
# [:, None] * theta -> [:, None].astype(np.float32) * np.float32(theta)
# (-2.0 * np.arange(D // 2) / D) -> (-2.0 * np.arange(D // 2) / D).astype(np.float32)


# wrong: angles in degrees
# np.cos(angle) -> np.cos(np.deg2rad(angle))


# wrong: angles remembered by shape
# cos, sin = np.cos(angle).astype(x.dtype) -> angle = KEPT.setdefault((T, D), angle)\n    cos, sin = np.cos(angle).astype(x.dtype)
# def rotary(x -> KEPT = {}\n\n\ndef rotary(x


# wrong: the axis of the heads is taken for the positions'
# T, D = x.shape[-2:]\n -> T, D = x.shape[-2:]\n    if x.ndim > 2 and x.shape[0] == T:\n        return np.moveaxis(rotary(np.moveaxis(x, 0, -2)[0], start, theta)[None] + 0 * x.swapaxes(0, -2), 0, -2)\n


# wrong: x in place
# return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> x[...] = np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)\n    return x


# wrong: at most 64 positions have angles of their own
# np.arange(T)) -> np.minimum(np.arange(T), 63))
