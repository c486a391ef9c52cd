import math

import numpy as np


# right: as the text
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


# right: complex numbers
def turn(x, start, theta, sign):
    half = x.shape[-1] // 2
    frequencies = np.exp(-np.log(theta) * np.arange(half) / half)
    turns = np.exp(sign * 1j * np.outer(np.arange(start, start + x.shape[-2]), frequencies))
    z = (x[..., :half] + 1j * x[..., half:]) * turns
    return np.concatenate([z.real, z.imag], axis=-1).astype(x.dtype)


def rotary(x, start, theta):
    return turn(x, start, theta, 1)


def rotary_backward(dy, start, theta):
    return turn(dy, start, theta, -1)


# right: rotate_half, with angles in the dtype of x
def table(x, start, theta):
    inverse = np.asarray(1.0 / theta ** (np.arange(0, x.shape[-1], 2) / x.shape[-1]), x.dtype)
    angle = np.outer(np.arange(start, start + x.shape[-2], dtype=x.dtype), inverse)
    return np.concatenate([angle, angle], axis=1)


def rotary(x, start, theta):
    angle = table(x, start, theta)
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    return x * np.cos(angle) + turned * np.sin(angle)


def rotary_backward(dy, start, theta):
    angle = table(dy, start, theta)
    half = dy.shape[-1] // 2
    scaled = dy * np.sin(angle)
    return dy * np.cos(angle) + np.concatenate([scaled[..., half:], -scaled[..., :half]], axis=-1)


# right: a matrix for each position
def matrix(t, D, theta):
    R = np.zeros((D, D))
    for i in range(D // 2):
        c, s = math.cos(t * theta ** (-2 * i / D)), math.sin(t * theta ** (-2 * i / D))
        R[i, i], R[i, i + D // 2], R[i + D // 2, i], R[i + D // 2, i + D // 2] = c, -s, s, c
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


# wrong: the pairs of the first head for all heads
# a, b = x[..., :half], x[..., half:] -> x = x if x.ndim < 3 else np.broadcast_to(x[:1], x.shape)\n    a, b = x[..., :half], x[..., half:]


# wrong: right for two pairs at most
# theta ** (-2 * np.arange(half) / D) -> theta ** (-np.minimum(np.arange(half), 1) * 2 / D)


# wrong: theta's whole part
# def rotary(x, start, theta):\n -> def rotary(x, start, theta):\n    theta = int(theta)\n


# wrong: the backward as the inverse, divided by D
# [a * cos + b * sin, b * cos - a * sin] -> [(a * cos + b * sin) * 2 / D, (b * cos - a * sin) * 2 / D]


# wrong: neighbours
# a, b = x[..., :half], x[..., half:] -> a, b = x[..., ::2], x[..., 1::2]


# wrong: neighbours, put back as neighbours, both ways
# a, b = x[..., :half], x[..., half:]\n    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> a, b = x[..., ::2], x[..., 1::2]\n    return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)
# a, b = dy[..., :half], dy[..., half:]\n    return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1) -> a, b = dy[..., ::2], dy[..., 1::2]\n    return np.stack([a * cos + b * sin, b * cos - a * sin], axis=-1).reshape(dy.shape)


# wrong: both directions mixed up
# [a * cos - b * sin, b * cos + a * sin] -> [a * cos + b * sin, b * cos - (a) * sin]
# [a * cos + b * sin, b * cos - a * sin] -> [a * cos - b * sin, b * cos + a * sin]


# wrong: the backward turns forward
# [a * cos + b * sin, b * cos - a * sin] -> [a * cos - b * sin, b * cos + a * sin]


# wrong: the backward is the identity
# [a * cos + b * sin, b * cos - a * sin] -> [a, b]


# wrong: the first half has a plus
# a * cos - b * sin -> a * cos + b * sin


# wrong: a reflection
# b * cos + a * sin -> a * sin - b * cos


# wrong: a and b the other way round
# [a * cos - b * sin, b * cos + a * sin] -> [b * cos + a * sin, a * cos - b * sin]


# wrong: cos and sin swapped
# cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype) -> sin, cos = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)


# wrong: degrees
# np.cos(angle).astype(x.dtype), np.sin(angle) -> np.cos(np.radians(angle)).astype(x.dtype), np.sin(np.radians(angle))


# wrong: turns, not radians
# np.cos(angle).astype(x.dtype), np.sin(angle) -> np.cos(2 * np.pi * angle).astype(x.dtype), np.sin(2 * np.pi * angle)


# wrong: -i / D
# -2 * np.arange(half) / D -> -1 * np.arange(half) / D


# wrong: exponents reach 1
# -2 * np.arange(half) / D -> -np.arange(half) / max(half - 1, 1)


# wrong: from i = 1
# -2 * np.arange(half) / D -> -2 * np.arange(1, half + 1) / D


# wrong: base 10000 for all
# def rotary(x, start, theta):\n -> def rotary(x, start, theta):\n    theta = 10000.0\n


# wrong: one frequency for all pairs
# theta ** (-2 * np.arange(half) / D) -> np.ones(half)


# wrong: the slow pairs first
# theta ** (-2 * np.arange(half) / D) -> (theta ** (-2 * np.arange(half) / D))[::-1]


# wrong: start ignored
# (start + np.arange(T)) -> np.arange(T)


# wrong: start ignored in the backward
# rotary_backward(dy, start, theta):\n -> rotary_backward(dy, start, theta):\n    start = 0\n


# wrong: start doubled
# (start + np.arange(T)) -> (2 * start + np.arange(T))


# wrong: positions from 1
# (start + np.arange(T)) -> (start + 1 + np.arange(T))


# wrong: all at the last position
# (start + np.arange(T)) -> (start + T - 1 + 0 * np.arange(T))


# wrong: positions count from the end
# (start + np.arange(T)) -> (start + np.arange(T)[::-1])


# wrong: positions run on over the heads
# angle = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(half) / D)\n    cos, sin = np.cos(angle).astype(x -> angle = (start + np.arange(x[..., 0].size).reshape(x.shape[:-1]))[..., None] * theta ** (-2 * np.arange(half) / D)\n    cos, sin = np.cos(angle).astype(x


# wrong: T is the first axis
# T, D = x.shape[-2:] -> T, D = x.shape[0], x.shape[-1]


# wrong: only the first pair turns
# cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype) -> angle[:, 1:] = 0\n    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)


# wrong: angles modulo pi
# cos, sin = np.cos(angle).astype(x -> angle = angle % np.pi\n    cos, sin = np.cos(angle).astype(x


# wrong: a table of 1024 positions
# (start + np.arange(T))[:, None] -> np.minimum(start + np.arange(T), 1023)[:, None]


# wrong: positions of 16 bits
# (start + np.arange(T))[:, None] -> (start + np.arange(T)).astype(np.uint16)[:, None]


# wrong: whole numbers of radians
# cos, sin = np.cos(angle).astype(x -> angle = np.floor(angle)\n    cos, sin = np.cos(angle).astype(x


# wrong: angles in half precision
# np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype) -> np.cos(angle).astype("f2").astype(x.dtype), np.sin(angle).astype("f2").astype(x.dtype)


# wrong: float64 comes out
# np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype) -> np.cos(angle), np.sin(angle)


# wrong: float64 comes out of the backward
# np.cos(angle).astype(dy.dtype), np.sin(angle).astype(dy.dtype) -> np.cos(angle), np.sin(angle)


# wrong: everything in float32
# np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype) -> np.cos(angle).astype("f4").astype(x.dtype), np.sin(angle).astype("f4").astype(x.dtype)


# wrong: x turned in place
# return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> x[..., :half], x[..., half:] = a * cos - b * sin, b * cos + a * sin\n    return x


# wrong: the first half overwritten before the second reads it
# return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> y = x.copy()\n    y[..., :half] = a * cos - b * sin\n    y[..., half:] = y[..., half:] * cos + y[..., :half] * sin\n    return y


# wrong: a table kept by its shape
tables = {}


def turned(x, start, theta, sign):
    T, D = x.shape[-2:]
    half = D // 2
    if (T, D) not in tables:
        tables[T, D] = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(half) / D)
    cos, sin = np.cos(tables[T, D]).astype(x.dtype), sign * np.sin(tables[T, D]).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotary(x, start, theta):
    return turned(x, start, theta, 1)


def rotary_backward(dy, start, theta):
    return turned(dy, start, theta, -1)


# wrong: a table kept by shape and start
tables = {}


def turned(x, start, theta, sign):
    T, D = x.shape[-2:]
    half = D // 2
    if (T, D, start) not in tables:
        tables[T, D, start] = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(half) / D)
    angle = tables[T, D, start]
    cos, sin = np.cos(angle).astype(x.dtype), sign * np.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotary(x, start, theta):
    return turned(x, start, theta, 1)


def rotary_backward(dy, start, theta):
    return turned(dy, start, theta, -1)


# wrong: the backward uses the angles of the last forward
kept = {}


def rotary(x, start, theta):
    T, D = x.shape[-2:]
    half = D // 2
    kept["angle"] = angle = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(half) / D)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotary_backward(dy, start, theta):
    half = dy.shape[-1] // 2
    cos, sin = np.cos(kept["angle"]).astype(dy.dtype), np.sin(kept["angle"]).astype(dy.dtype)
    a, b = dy[..., :half], dy[..., half:]
    return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)
