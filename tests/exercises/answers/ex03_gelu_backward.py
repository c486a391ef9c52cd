import math

import numpy as np


# right: product rule
def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(c * (x + a * x**3))
    du = c * (1 + 3 * a * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


# right: y = x sigmoid(2u)
def gelu_backward(dy, x):
    c, a = 2 * np.sqrt(2 / np.pi), 0.044715
    s = 1 / (1 + np.exp(-c * (x + a * x**3)))
    return dy * (s + x * s * (1 - s) * c * (1 + 3 * a * x * x))


# right: one number at a time
def gelu_backward(dy, x):
    c, a = (2 / math.pi) ** 0.5, 0.044715

    def slope(x):
        t = math.tanh(c * x * (1 + a * x * x))
        return (1 + t + x * (1 - t) * (1 + t) * c * (1 + 3 * a * x * x)) / 2

    return np.array([d * slope(float(v)) for d, v in zip(dy.flatten(), x.flatten())]).reshape(x.shape)


# right: named steps, in place on arrays of its own
def gelu_backward(dy, x):
    c, a = np.sqrt(2.0 / np.pi), 0.044715
    square = np.multiply(x, x)
    t = np.tanh(c * x * (1.0 + a * square))
    result = 1.0 - t * t
    result *= c * (1.0 + 3.0 * a * square)
    result *= x
    result += 1.0 + t
    result *= 0.5
    return np.multiply(result, dy)


# wrong: second term missing
#  + 0.5 * x * (1 - t**2) * du ->


# wrong: first term missing
# 0.5 * (1 + t) + 0.5 -> 0.5


# wrong: no factor 3
# 3 * a -> a


# wrong: 2 for 3
# 3 * a -> 2 * a


# wrong: c missing in du
# du = c * -> du = 


# wrong: c missing in u
# np.tanh(c * -> np.tanh(


# wrong: dy missing
# return dy * -> return 1.0 *


# wrong: dy added
# return dy * -> return dy +


# wrong: the forward
# (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) -> (0.5 * x * (1 + t))


# wrong: tanh' without the square
# 1 - t**2 -> 1 - t


# wrong: 1 + t^2
# 1 - t**2 -> 1 + t**2


# wrong: a = 0.44715
# 0.044715 -> 0.44715


# wrong: a rounded to three digits
# 0.044715 -> 0.0447


# wrong: c = sqrt(2 pi)
# math.sqrt(2 / math.pi) -> math.sqrt(2 * math.pi)


# wrong: c to four digits
# math.sqrt(2 / math.pi) -> 0.7979


# wrong: the exact GELU's derivative, with erf
def gelu_backward(dy, x):
    cdf = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.flatten()]).reshape(x.shape)
    return dy * (cdf + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


# wrong: sigmoid(1.702 x)
def gelu_backward(dy, x):
    s = 1 / (1 + np.exp(-1.702 * x))
    return dy * (s + 1.702 * x * s * (1 - s))


# wrong: ReLU's derivative
# (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) -> (x > 0)


# wrong: tanh by exponentials, which is inf / inf for large x
# np.tanh(c * (x + a * x**3)) -> (lambda e: (e - 1) / (e + 1))(np.exp(2 * c * (x + a * x**3)))


# wrong: x clipped to [-4, 4]
# c, a = -> x = np.clip(x, -4, 4); c, a =


# wrong: 1 for x > 3, 0 for x < -3
# return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) -> return dy * np.where(abs(x) > 3, x > 0, 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


# wrong: |x| for x
# np.tanh(c * (x + a * x**3)) -> np.tanh(c * (abs(x) + a * abs(x) ** 3))


# wrong: float32 inside
# c, a = -> x = x.astype(np.float32); c, a =


# wrong: a derivative by differences
def gelu_backward(dy, x):
    gelu = lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return dy * (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5


# wrong: only for two axes
def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    result = np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = np.tanh(c * (x[i, j] + a * x[i, j] ** 3))
            result[i, j] = dy[i, j] * (0.5 * (1 + t) + 0.5 * x[i, j] * (1 - t**2) * c * (1 + 3 * a * x[i, j] ** 2))
    return result


# wrong: only for one axis or more
def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    result = np.empty(x.shape)
    for i in range(len(x)):
        t = np.tanh(c * (x[i] + a * x[i] ** 3))
        result[i] = dy[i] * (0.5 * (1 + t) + 0.5 * x[i] * (1 - t**2) * c * (1 + 3 * a * x[i] ** 2))
    return result


# wrong: tanh of the last x of this shape
kept = {}


def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = kept.setdefault(x.shape, np.tanh(c * (x + a * x**3)))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * a * x**2))


# wrong: cached by dy
kept = {}


def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    if dy.tobytes() not in kept:
        t = np.tanh(c * (x + a * x**3))
        kept[dy.tobytes()] = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * a * x**2))
    return kept[dy.tobytes()]


# wrong: dy in place
def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(c * (x + a * x**3))
    dy *= 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * a * x**2)
    return dy


# wrong: flattened memory in the order it has, put back in C order
def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    v = x.ravel(order="K")
    t = np.tanh(c * (v + a * v**3))
    return dy * (0.5 * (1 + t) + 0.5 * v * (1 - t**2) * c * (1 + 3 * a * v**2)).reshape(x.shape)
