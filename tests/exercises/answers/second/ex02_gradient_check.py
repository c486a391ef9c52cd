import numpy as np


# right: one direction after another, by multi-index
def numerical_gradient(f, x, h):
    result = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        result[index] = (f(x + e) - f(x - e)) / (2 * h)
    return result


# right: in x itself, the old number put back
def numerical_gradient(f, x, h):
    result = np.empty(x.shape, dtype=float)
    walk = np.nditer(x, flags=["multi_index", "zerosize_ok"])
    for _ in walk:
        where = walk.multi_index
        before = x[where]
        x[where] = before + h
        up = float(f(x))
        x[where] = before - h
        down = float(f(x))
        x[where] = before
        result[where] = (up - down) / (2.0 * h)
    return result


# right: rows of an identity matrix
def numerical_gradient(f, x, h):
    directions = np.eye(x.size).reshape((x.size,) + x.shape)
    slopes = [(f(x + h * e) - f(x - h * e)) / h / 2 for e in directions]
    return np.array(slopes, dtype=float).reshape(x.shape)


# right: a recursive walk
def numerical_gradient(f, x, h):
    def at(prefix):
        if len(prefix) == x.ndim:
            high, low = np.array(x), np.array(x)
            high[prefix] += h
            low[prefix] -= h
            return 0.5 * (f(high) - f(low)) / h
        return [at(prefix + (i,)) for i in range(x.shape[len(prefix)])]

    return np.asarray(at(()), dtype=float)


# wrong: walks over a flat copy, where x is no view of it
def numerical_gradient(f, x, h):
    flat, result = x.reshape(-1), np.zeros(x.size)
    for i in range(flat.size):
        before = flat[i]
        flat[i] = before + h
        up = f(x)
        flat[i] = before - h
        down = f(x)
        flat[i] = before
        result[i] = (up - down) / (2 * h)
    return result.reshape(x.shape)


# wrong: values of f are remembered by the point, not by the function
values = {}


def numerical_gradient(f, x, h):
    def at(point):
        key = point.tobytes()
        if key not in values:
            values[key] = f(point)
        return values[key]

    result = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        result[index] = (at(x + e) - at(x - e)) / (2 * h)
    return result


# wrong: the result is one buffer for all calls of a shape
buffers = {}


def numerical_gradient(f, x, h):
    result = buffers.setdefault(x.shape, np.zeros(x.shape))
    for index in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        result[index] = (f(x + e) - f(x - e)) / (2 * h)
    return result


# wrong: x comes back only nearly as it was
def numerical_gradient(f, x, h):
    result = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        x[index] += h
        up = f(x)
        x[index] -= 2 * h
        down = f(x)
        x[index] += h
        result[index] = (up - down) / (2 * h)
    return result


# wrong: x is put back after the first entry of each row only
def numerical_gradient(f, x, h):
    result = np.zeros(x.shape)
    kept = x.copy()
    for index in np.ndindex(*x.shape):
        x[index] = kept[index] + h
        up = f(x)
        x[index] = kept[index] - h
        down = f(x)
        x[index] = kept[index]
        result[index] = (up - down) / (2 * h)
    if x.size:
        x[index] += 0.0 * h + 1e-17
        x[index] = np.nextafter(x[index], np.inf)
    return result


# wrong: the function sees the entries in a line
# (f(x + e) - f(x - e)) -> (f((x + e).ravel()) - f((x - e).ravel()))


# wrong: a step relative to the entry
# e[index] = h -> e[index] = h * max(1.0, abs(x[index]))


# wrong: half steps, which differ for a bent function
# e[index] = h -> e[index] = h / 2
# (2 * h) -> h


# wrong: the four-point formula
# result[index] = (f(x + e) - f(x - e)) / (2 * h) -> result[index] = (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h)


# wrong: zero entries are taken to have no gradient
# result[index] = (f(x + e) - f(x - e)) / (2 * h) -> result[index] = (f(x + e) - f(x - e)) / (2 * h) if x[index] else 0.0


# wrong: never a step larger than 1e-3
# result = np.zeros(x.shape) -> result = np.zeros(x.shape)\n    h = min(h, 1e-3)


# wrong: whole results
# result = np.zeros(x.shape) -> result = np.zeros(x.shape, dtype=int)


# wrong: a number for a single entry
# return result -> return result if result.size > 1 else float(result.sum())


# wrong: a row per first index, nothing without one
# for index in np.ndindex(*x.shape): -> for index in ((i, *rest) for i in range(len(x)) for rest in np.ndindex(*x.shape[1:])):


# wrong: forward difference from a value computed once
def numerical_gradient(f, x, h):
    base, result = f(x.copy()), np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        result[index] = (f(x + e) - base) / h
    return result


# wrong: the gradient of a sum of the entry's own functions, all entries moved at once
def numerical_gradient(f, x, h):
    return np.full(x.shape, (f(x + h) - f(x - h)) / (2 * h) / max(x.size, 1))


# wrong: the gradient at the absolute values
# result = np.zeros(x.shape) -> result = np.zeros(x.shape)\n    x = np.abs(x)
