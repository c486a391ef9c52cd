import numpy as np


# right: as the text
def rms_norm(x, gamma, eps):
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    return x / rms * gamma


def rms_norm_backward(dy, x, gamma, eps):
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    xhat = x / rms
    g = dy * gamma
    dx = (g - xhat * np.mean(g * xhat, axis=-1, keepdims=True)) / rms
    dgamma = (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0)
    return dx, dgamma


# right: a Jacobian for each row
def rms_norm(x, gamma, eps):
    y = np.empty_like(x)
    for index in np.ndindex(x.shape[:-1]):
        y[index] = gamma * x[index] / np.sqrt(x[index] @ x[index] / len(gamma) + eps)
    return y


def rms_norm_backward(dy, x, gamma, eps):
    d = len(gamma)
    dx, dgamma = np.zeros(x.shape), np.zeros(d)
    for index in np.ndindex(x.shape[:-1]):
        row = np.asarray(x[index], np.float64)
        root = np.sqrt(row @ row / d + eps)
        jacobian = (np.eye(d) - np.outer(row, row) / (d * root**2)) / root
        dx[index] = jacobian @ (gamma * dy[index])
        dgamma += dy[index] * row / root
    return dx, dgamma


# right: two dimensions first, powers in place of roots
def rms_norm(x, gamma, eps):
    rows = x.reshape(-1, x.shape[-1])
    square = np.einsum("nd,nd->n", rows, rows) / rows.shape[1] + eps
    return (rows * square[:, None] ** -0.5 * gamma).reshape(x.shape)


def rms_norm_backward(dy, x, gamma, eps):
    rows, dys, d = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1]), x.shape[-1]
    square = np.einsum("nd,nd->n", rows, rows) / d + eps
    r = square[:, None] ** -0.5
    dr = np.einsum("nd,nd,d->n", dys, rows, gamma)
    dx = dys * gamma * r - rows * (dr / d * square**-1.5)[:, None]
    return [dx.reshape(x.shape), np.einsum("nd,nd,nz->d", dys, rows, r)]


# right: norms, and sums over all axes but the last
def rms_norm(x, gamma, eps):
    return np.multiply(gamma, x) / np.sqrt(np.linalg.norm(x, axis=-1, keepdims=True) ** 2 / x.shape[-1] + eps)


def rms_norm_backward(dy, x, gamma, eps):
    size = np.sqrt(np.linalg.norm(x, axis=-1, keepdims=True) ** 2 / x.shape[-1] + eps)
    along = ((dy * gamma) * x).sum(-1, keepdims=True) / x.shape[-1]
    leading = tuple(range(x.ndim - 1))
    return dy * gamma / size - x / size * (along / size) / size, np.sum(dy * x / size, axis=leading)


# wrong: eps only where the row is zero
# rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) -> rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))\n    rms = np.where(rms == 0, np.sqrt(eps), rms)


# wrong: y in float32
# return x / rms * gamma -> return (x / rms * gamma).astype("f4")


# wrong: dgamma in float32
# .sum(axis=0)\n    return dx -> .astype("f4").sum(axis=0)\n    return dx


# wrong: dx clipped
#     return dx, dgamma ->     return np.clip(dx, -1e3, 1e3), dgamma


# wrong: dx right for gamma of ones only
# dx = (g - xhat * np.mean(g * xhat -> dx = (g - xhat * np.mean(dy * xhat


# wrong: dgamma keeps the axes of one row
# .sum(axis=0)\n    return dx -> .sum(axis=0, keepdims=x.ndim == 1)\n    return dx


# wrong: centred, as LayerNorm
#     rms = -> \n    x = x - x.mean(axis=-1, keepdims=True)\n    rms =


# wrong: y over the first axis
# def rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1 -> def rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=0


# wrong: y over axis 1
# def rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1 -> def rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=min(1, x.ndim - 1)


# wrong: one rms for the array
# rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) -> rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2)


# wrong: eps after the root
# rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) -> rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True)) + eps


# wrong: eps squared
# , gamma, eps):\n    rms = -> , gamma, eps):\n    eps = eps**2\n    rms =


# wrong: eps fixed
# , gamma, eps):\n    rms = -> , gamma, eps):\n    eps = 1e-6\n    rms =


# wrong: the largest of mean square and eps
# rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) -> rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.maximum(np.mean(x**2, axis=-1, keepdims=True), eps))


# wrong: mean of magnitudes
# rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) -> rms_norm(x, gamma, eps):\n    rms = np.mean(abs(x), axis=-1, keepdims=True) + eps


# wrong: the sum divides by d - 1
# rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) -> rms_norm(x, gamma, eps):\n    rms = np.sqrt(np.sum(x**2, axis=-1, keepdims=True) / max(x.shape[-1] - 1, 1) + eps)


# wrong: 1 + gamma, as Gemma
# x / rms * gamma -> x / rms * (1 + gamma)


# wrong: gamma inside the root
# rms_norm(x, gamma, eps):\n    rms = -> rms_norm(x, gamma, eps):\n    x = x * gamma\n    gamma = 1\n    rms =


# wrong: y in half precision
# x / rms * gamma -> (x / rms).astype("f2").astype(x.dtype) * gamma


# wrong: x normalised in place in the forward
# return x / rms * gamma -> x /= rms\n    return x * gamma


# wrong: the root is constant
# (g - xhat * np.mean(g * xhat, axis=-1, keepdims=True)) -> g


# wrong: sum in place of mean in dx
# np.mean(g * xhat -> np.sum(g * xhat


# wrong: LayerNorm's dx
# (g - xhat * -> (g - g.mean(axis=-1, keepdims=True) - xhat *


# wrong: x for xhat in dx
# (g - xhat * np.mean(g * xhat -> (g - x * np.mean(g * x


# wrong: dx without gamma
# g = dy * gamma -> g = dy


# wrong: gamma after the projection
# g = dy * gamma\n    dx = ( -> g = dy\n    dx = gamma * (


# wrong: gamma twice
# g = dy * gamma -> g = dy * gamma * gamma


# wrong: the sign of the second term
# (g - xhat -> (g + xhat


# wrong: dx over the square
# keepdims=True)) / rms\n -> keepdims=True)) / rms**2\n


# wrong: dgamma with gamma
# (dy * xhat).reshape -> (g * xhat).reshape


# wrong: dgamma is dbeta
# (dy * xhat).reshape -> dy.reshape


# wrong: dgamma is a mean
# .sum(axis=0)\n    return dx -> .mean(axis=0)\n    return dx


# wrong: dgamma per row
# (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0) -> dy * xhat


# wrong: dgamma over the first axis only
# (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0) -> np.atleast_2d(dy * xhat).sum(axis=0)


# wrong: dgamma of the last block only
# (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0) -> (dy * xhat)[-1:].reshape(-1, x.shape[-1]).sum(axis=0) if x.ndim == 3 else np.atleast_2d(dy * xhat).sum(axis=0)


# wrong: dgamma over two axes at most
# (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0) -> (dy * xhat).sum(axis=tuple(range(x.ndim - 1))[:2])


# wrong: rows taken in memory order
# (dy * xhat).reshape(-1, x.shape[-1]) -> (dy * xhat).ravel(order="K").reshape(-1, x.shape[-1])


# wrong: dy changed
# g = dy * gamma -> dy *= gamma\n    g = dy


# wrong: the first eps for all calls
first = []


def rms_norm(x, gamma, eps):
    first.append(eps)
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + first[0]) * gamma


def rms_norm_backward(dy, x, gamma, eps):
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    g = dy * gamma
    dx = (g - x / rms * np.mean(g * x / rms, axis=-1, keepdims=True)) / rms
    return dx, (dy * x / rms).reshape(-1, x.shape[-1]).sum(axis=0)


# wrong: the root of the last forward
kept = {}


def rms_norm(x, gamma, eps):
    kept["rms"] = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    return x / kept["rms"] * gamma


def rms_norm_backward(dy, x, gamma, eps):
    rms = kept.get("rms", np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps))
    g = dy * gamma
    dx = (g - x / rms * np.mean(g * x / rms, axis=-1, keepdims=True)) / rms
    return dx, (dy * x / rms).reshape(-1, x.shape[-1]).sum(axis=0)


# wrong: a root kept by x, whatever eps is
kept = {}


def rms_norm(x, gamma, eps):
    root = kept.setdefault(x.tobytes(), np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps))
    return x / root * gamma


def rms_norm_backward(dy, x, gamma, eps):
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    g = dy * gamma
    dx = (g - x / rms * np.mean(g * x / rms, axis=-1, keepdims=True)) / rms
    return dx, (dy * x / rms).reshape(-1, x.shape[-1]).sum(axis=0)


# wrong: one buffer for all results of a shape
buffers = {}


def rms_norm(x, gamma, eps):
    out = buffers.setdefault((x.shape, x.dtype.str), np.empty_like(x))
    out[...] = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * gamma
    return out


def rms_norm_backward(dy, x, gamma, eps):
    rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    g = dy * gamma
    dx = (g - x / rms * np.mean(g * x / rms, axis=-1, keepdims=True)) / rms
    return dx, (dy * x / rms).reshape(-1, x.shape[-1]).sum(axis=0)
