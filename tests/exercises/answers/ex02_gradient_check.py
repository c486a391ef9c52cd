import numpy as np


# right: a new step array for each entry
def numerical_gradient(f, x, h):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient[index] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


# right: copies, entry by entry of a flat view
def numerical_gradient(f, x, h):
    gradient = np.empty(x.size)
    for i in range(x.size):
        up, down = np.array(x, dtype=float, order="C"), np.array(x, dtype=float, order="C")
        up.reshape(-1)[i] += h
        down.reshape(-1)[i] -= h
        gradient[i] = 0.5 * (f(up) - f(down)) / h
    return gradient.reshape(x.shape)


# right: moves one entry of a copy and puts the saved value back
def numerical_gradient(f, x, h):
    work = x.astype(np.float64)
    gradient = np.zeros_like(work)
    it = np.nditer(work, flags=["multi_index"])
    for _ in it:
        index = it.multi_index
        saved = float(work[index])
        work[index] = saved + h
        above = f(work)
        work[index] = saved - h
        below = f(work)
        work[index] = saved
        gradient[index] = (above - below) / (2.0 * h)
    return gradient


# right: rows of an identity as directions
def numerical_gradient(f, x, h):
    directions = (h * row.reshape(x.shape) for row in np.eye(x.size))
    return np.array([(f(x + e) - f(x - e)) / (2 * h) for e in directions]).reshape(x.shape)


# wrong: forward difference
# f(x - step)) / (2 * h) -> f(x)) / h


# wrong: backward difference
# f(x + step) - f(x - step)) / (2 * h) -> f(x) - f(x - step)) / h


# wrong: divided by h
# (2 * h) -> h


# wrong: not divided
#  / (2 * h) ->


# wrong: the operators' precedence
# / (2 * h) -> / 2 * h


# wrong: the sign
# f(x + step) - f(x - step) -> f(x - step) - f(x + step)


# wrong: a step of its own, not h
# step[index] = h -> h = 1e-5; step[index] = h


# wrong: the step is relative to x
# step[index] = h -> step[index] = h * max(1.0, abs(float(x[index])))


# wrong: all entries at once
# step[index] = h -> step[...] = h


# wrong: moves whole rows
# np.ndindex(x.shape) -> range(len(x))


# wrong: a fourth-order stencil, which is another number at this h
# (f(x + step) - f(x - step)) / (2 * h) -> (8 * (f(x + step) - f(x - step)) - f(x + 2 * step) + f(x - 2 * step)) / (12 * h)


# wrong: Richardson's extrapolation
# (f(x + step) - f(x - step)) / (2 * h) -> (4 * (f(x + step / 2) - f(x - step / 2)) / h - (f(x + step) - f(x - step)) / (2 * h)) / 3


# wrong: flat, not in x's shape
# return gradient -> return gradient.reshape(-1)


# wrong: only for two axes
def numerical_gradient(f, x, h):
    gradient = np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            step = np.zeros(x.shape)
            step[i, j] = h
            gradient[i, j] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


# wrong: in place, put back by arithmetic
def numerical_gradient(f, x, h):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        below = f(x)
        x[index] += h
        gradient[index] = (above - below) / (2 * h)
    return gradient


# wrong: writes through ravel, which copies an array that is not contiguous
def numerical_gradient(f, x, h):
    x = x.copy(order="K")
    gradient = np.zeros_like(x, dtype=float)
    flat, slopes = x.ravel(), gradient.ravel()
    for i in range(x.size):
        saved = flat[i]
        flat[i] = saved + h
        above = f(x)
        flat[i] = saved - h
        slopes[i] = (above - f(x)) / (2 * h)
        flat[i] = saved
    return gradient


# wrong: rounds the loss to float32
# gradient[index] = (f(x + step) - f(x - step)) -> gradient[index] = np.float32(np.float32(f(x + step)) - np.float32(f(x - step)))


# wrong: remembers the gradient of the last x
last = {}


def numerical_gradient(f, x, h):
    key = (x.tobytes(), h)
    if key not in last:
        step = lambda i: h * np.eye(x.size)[i].reshape(x.shape)
        last[key] = np.array([(f(x + step(i)) - f(x - step(i))) / (2 * h) for i in range(x.size)]).reshape(x.shape)
    return last[key]


# wrong: remembers by x whatever h is
seen = {}


def numerical_gradient(f, x, h):
    h = seen.setdefault(x.tobytes(), h)
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient[index] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


# wrong: one output buffer per shape
buffers = {}


def numerical_gradient(f, x, h):
    gradient = buffers.setdefault(x.shape, np.zeros(x.shape))
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient[index] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


# wrong: small slopes count as zero
# return gradient -> gradient[abs(gradient) < 1e-2] = 0; return gradient
