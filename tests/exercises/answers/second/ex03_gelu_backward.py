import math

import numpy as np


# right: product rule, term by term
def gelu_backward(dy, x):
    c, a = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(c * (x + a * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * a * x * x))


# right: through the logistic function, since (1 + tanh u) / 2 = 1 / (1 + exp(-2u))
def gelu_backward(dy, x):
    c = math.sqrt(2 / math.pi)
    u = c * (x + 0.044715 * x * x * x)
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-2 * u))
    du = c + 3 * c * 0.044715 * np.square(x)
    return dy * (p + 2 * x * p * (1 - p) * du)


# right: one number after another, with sech, in any shape
def gelu_backward(dy, x):
    c = (2 / math.pi) ** 0.5

    def slope(z):
        u = c * z * (1 + 0.044715 * z * z)
        sech = 1 / math.cosh(u) if abs(u) < 700 else 0.0
        return (1 + math.tanh(u)) / 2 + z / 2 * sech * sech * c * (1 + 0.134145 * z * z)

    return np.array([g * slope(z) for g, z in zip(dy.ravel().tolist(), x.ravel().tolist())]).reshape(x.shape)


# right: far out the slope is 1 or 0 to the last bit that counts
def gelu_backward(dy, x):
    near = np.clip(x, -15, 15)
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * near * (1 + 0.044715 * near**2))
    slope = 0.5 * (1 + t) + 0.5 * near * (1 - t**2) * c * (1 + 3 * 0.044715 * near**2)
    return np.where(x > 15, dy, np.where(x < -15, 0.0, dy * slope))


# wrong: tanh by exponentials, not a number far out
# t = np.tanh(c * (x + a * x**3)) -> u = c * (x + a * x**3)\n    t = (np.exp(u) - np.exp(-u)) / (np.exp(u) + np.exp(-u))


# wrong: tanh by one exponential, not a number far to the right
# t = np.tanh(c * (x + a * x**3)) -> u = np.exp(2 * c * (x + a * x**3))\n    t = (u - 1) / (u + 1)


# wrong: 1 / cosh^2 left as it overflows, times infinity
# (1 - t * t) -> np.exp(-2 * np.log(np.cosh(c * (x + a * x**3)))) * np.exp(2 * np.log(np.cosh(x))) / np.exp(2 * np.log(np.cosh(x)))


# wrong: the 3 is forgotten
# 3 * a -> a


# wrong: the square is forgotten
# 3 * a * x * x -> 3 * a * x


# wrong: the derivative of the exact GELU
def gelu_backward(dy, x):
    cdf = np.vectorize(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))), otypes=[float])(x)
    return dy * (cdf + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


# wrong: the sigmoid approximation
def gelu_backward(dy, x):
    s = 1 / (1 + np.exp(-1.702 * x))
    return dy * (s + 1.702 * x * s * (1 - s))


# wrong: a rounded constant
# 0.044715 -> 0.0447


# wrong: c to four digits
# np.sqrt(2 / np.pi) -> 0.7979


# wrong: saturated from 3 on
# return dy -> slope = np.where(x > 3, 1.0, np.where(x < -3, 0.0, 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * a * x * x)))\n    return dy * slope\n    return dy


# wrong: the slope of a symmetric function
# t = np.tanh(c * (x + a * x**3)) -> x = np.abs(x)\n    t = np.tanh(c * (x + a * x**3))


# wrong: a scalar becomes an array of one
# return dy -> dy, x, t = np.atleast_1d(dy), np.atleast_1d(x), np.atleast_1d(t)\n    return dy


# wrong: writes into dy
# return dy * -> dy *= 
# (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * a * x * x)) -> (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * a * x * x))\n    return dy


# wrong: tanh remembered by shape
# t = np.tanh(c * (x + a * x**3)) -> t = SEEN.setdefault(x.shape, np.tanh(c * (x + a * x**3)))
# def gelu -> SEEN = {}\n\n\ndef gelu


# wrong: pairs entries by their place in memory
# return dy -> dy = dy.ravel(order="K").reshape(x.shape)\n    return dy


# wrong: a difference quotient
def gelu_backward(dy, x):
    def y(z):
        return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))

    return dy * (y(x + 1e-4) - y(x - 1e-4)) / 2e-4


# wrong: rows only
def gelu_backward(dy, x):
    c, a = np.sqrt(2 / np.pi), 0.044715
    result = []
    for g, z in zip(dy, x):
        t = np.tanh(c * (z + a * z**3))
        result.append(g * (0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * a * z * z)))
    return np.array(result)


# wrong: single precision
# return dy -> t = np.float32(t)\n    return dy


# wrong: the gradient is kept between -10 and 10
# return dy * -> return np.clip(dy, -10, 10) *
