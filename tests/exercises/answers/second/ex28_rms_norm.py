import numpy as np


# right: the formulas
def rms_norm(x, gamma, eps):
    return gamma * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)


def rms_norm_backward(dy, x, gamma, eps):
    rstd = 1 / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    xhat = x * rstd
    g = dy * gamma
    dx = rstd * (g - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    return dx, (dy * xhat).reshape(-1, len(gamma)).sum(axis=0)


# right: rows, one after another, with their Jacobian
def rms_norm(x, gamma, eps):
    y = np.empty(x.shape)
    for at in np.ndindex(x.shape[:-1]):
        y[at] = x[at] * gamma / (x[at] @ x[at] / len(gamma) + eps) ** 0.5
    return y


def rms_norm_backward(dy, x, gamma, eps):
    d = len(gamma)
    dx, dgamma = np.empty(x.shape), np.zeros(d)
    for at in np.ndindex(x.shape[:-1]):
        row = x[at].astype(float)
        s = np.sqrt(row @ row / d + eps)
        dx[at] = (np.eye(d) / s - np.outer(row, row) / (d * s**3)) @ (gamma * dy[at])
        dgamma += dy[at] * row / s
    return dx, dgamma


# right: contractions and the second function's normalised rows from the first
def rms_norm(x, gamma, eps):
    return np.multiply(gamma, x * np.power(np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1] + eps, -0.5))


def rms_norm_backward(dy, x, gamma, eps):
    xhat = rms_norm(x, np.ones_like(gamma), eps)
    scale = np.power(np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1] + eps, -0.5)
    inner = np.einsum("...i,...i,i->...", dy, xhat, gamma)[..., None] / x.shape[-1]
    return scale * (gamma * dy - inner * xhat), np.einsum("ni,ni->i", *(a.reshape(-1, len(gamma)) for a in (dy, xhat)))


# right: a matrix of rows
def rms_norm(x, gamma, eps):
    rows = x.reshape(-1, x.shape[-1])
    return (rows / np.sqrt(np.mean(np.square(rows), 1) + eps)[:, None] * gamma[None]).reshape(x.shape)


def rms_norm_backward(dy, x, gamma, eps):
    rows, grads = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
    s = np.sqrt(np.mean(np.square(rows), 1) + eps)[:, None]
    through = (grads * gamma * rows).sum(1)[:, None] / (rows.shape[1] * s**3)
    return (grads * gamma / s - rows * through).reshape(x.shape), (grads * rows / s).sum(0)


# wrong: eps beside the root
# np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) -> (np.sqrt((x**2).mean(axis=-1, keepdims=True)) + eps)


# wrong: the usual eps
# + eps) -> + 1e-6)


# wrong: the mean is taken away
# return gamma * x / -> x = x - x.mean(axis=-1, keepdims=True)\n    return gamma * x /


# wrong: the sum of squares
# .mean(axis=-1, keepdims=True) + eps -> .sum(axis=-1, keepdims=True) + eps


# wrong: gamma twice in dx
# (g * xhat).mean -> (g * gamma * xhat).mean


# wrong: gamma comes in at the end of dx
# g = dy * gamma -> g = dy
# return dx, -> return dx * gamma,


# wrong: nothing through the root mean square
# (g - xhat * (g * xhat).mean(axis=-1, keepdims=True)) -> g


# wrong: LayerNorm's dx
# (g - xhat -> (g - g.mean(axis=-1, keepdims=True) - xhat


# wrong: dgamma over the first axis only
# (dy * xhat).reshape(-1, len(gamma)).sum(axis=0) -> (dy * xhat).sum(axis=0)


# wrong: dgamma by x
# (dy * xhat).reshape -> (dy * x).reshape


# wrong: dgamma is a mean
# .reshape(-1, len(gamma)).sum(axis=0) -> .reshape(-1, len(gamma)).mean(axis=0)


# wrong: rows of zeros give zeros
# return dx, -> dx = dx * x.any(axis=-1, keepdims=True)\n    return dx,


# wrong: a single row becomes a matrix
# return gamma * x / -> x = np.atleast_2d(x)\n    return gamma * x /


# wrong: the mean over all axes but the first
# (x**2).mean(axis=-1, keepdims=True) -> (x**2).mean(axis=tuple(range(1, x.ndim)) or -1, keepdims=True)


# wrong: axis 1
# (x**2).mean(axis=-1, keepdims=True) -> (x**2).mean(axis=min(1, x.ndim - 1), keepdims=True)


# wrong: x's scale in place
# return gamma * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) -> x /= np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)\n    return gamma * x


# wrong: the backward uses what the last forward of the shape kept
# return gamma * x / -> KEPT[x.shape] = x.copy()\n    return gamma * x /
# xhat = x * rstd -> x = KEPT.get(x.shape, x)\n    xhat = x * rstd
# def rms_norm( -> KEPT = {}\n\n\ndef rms_norm(
