import numpy as np


# right: three terms
def layer_norm_backward(dy, x, gamma, eps):
    mean = x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    xhat = (x - mean) * rstd
    g = dy * gamma
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    return dx, (dy * xhat).sum(0), dy.sum(0)


# right: the Jacobian of every row
def layer_norm_backward(dy, x, gamma, eps):
    n, d = x.shape
    dx, dgamma = np.zeros((n, d)), np.zeros(d)
    centering = np.eye(d) - np.ones((d, d)) / d
    for i in range(n):
        z = centering @ x[i]
        s = np.sqrt(z @ z / d + eps)
        J = (np.eye(d) / s - np.outer(z, z) / (d * s**3)) @ centering
        dx[i] = J.T @ (gamma * dy[i])
        dgamma += dy[i] * z / s
    return dx, dgamma, np.ones(n) @ dy


# right: backward through var and mean one after the other
def layer_norm_backward(dy, x, gamma, eps):
    d = x.shape[1]
    mu = np.sum(x, 1) / d
    xc = x - mu[:, None]
    sigma = np.sqrt((xc**2).sum(1) / d + eps)[:, None]
    dxhat = dy * gamma[None]
    dvar = (dxhat * xc).sum(1, keepdims=True) * -0.5 / sigma**3
    dxc = dxhat / sigma + 2 / d * xc * dvar
    return dxc - dxc.mean(1)[:, None], np.einsum("ij,ij->j", dy, xc / sigma), np.add.reduce(dy)


# right: transposed, statistics by numpy's own functions
def layer_norm_backward(dy, x, gamma, eps):
    z = (x.T - np.average(x, axis=1)) / np.hypot(np.std(x, axis=1), np.sqrt(eps))
    g = (dy * gamma).T
    scale = np.hypot(x.std(1), eps**0.5)
    dx = (g - g.mean(0) - z * np.mean(g * z, 0)) / scale
    return dx.T, (z * dy.T).sum(1), dy.T.sum(1)


# wrong: eps beside the root
# np.sqrt(x.var(axis=-1, keepdims=True) + eps) -> (np.sqrt(x.var(axis=-1, keepdims=True)) + eps)


# wrong: always the usual eps
# + eps) -> + 1e-5)


# wrong: eps is left out
# + eps) -> )


# wrong: eps twice
# + eps) -> + eps + eps)


# wrong: d - 1
# keepdims=True) + eps) -> keepdims=True, ddof=min(1, x.shape[1] - 1)) + eps)


# wrong: the mean square in place of the variance
# x.var(axis=-1, keepdims=True) -> (x**2).mean(axis=-1, keepdims=True)


# wrong: gamma comes in after the means
# g = dy * gamma -> g = dy
# return dx, -> return dx * gamma,


# wrong: dgamma from x
# (dy * xhat).sum(0) -> (dy * x).sum(0)


# wrong: dgamma from the centred x
# (dy * xhat).sum(0) -> (dy * (x - mean)).sum(0)


# wrong: statistics of the whole batch
# axis=-1 -> axis=None


# wrong: the columns' statistics
# axis=-1 -> axis=0


# wrong: gamma along the rows when there are as many rows as columns
# g = dy * gamma -> g = dy * (gamma[:, None] if len(gamma) == len(dy) else gamma)


# wrong: centres x in place
# xhat = (x - mean) * rstd -> x -= mean\n    xhat = x * rstd


# wrong: remembers the normalised rows by shape
# xhat = (x - mean) * rstd -> xhat = KEPT.setdefault(x.shape, (x - mean) * rstd)
# def layer -> KEPT = {}\n\n\ndef layer


# wrong: dgamma and dbeta as rows
# (dy * xhat).sum(0), dy.sum(0) -> (dy * xhat).sum(0, keepdims=True), dy.sum(0, keepdims=True)


# wrong: averages over the batch
# (dy * xhat).sum(0), dy.sum(0) -> (dy * xhat).mean(0), dy.mean(0)


# wrong: the mean of the gradients is not taken away
# g - g.mean(axis=-1, keepdims=True) - -> g -


# wrong: the second mean is of the gradient times x
# (g * xhat).mean -> (g * x).mean


# wrong: constant rows have no gradient
# return dx, -> return np.where(x.var(axis=-1, keepdims=True) == 0, 0.0, dx),


# wrong: rows of small spread are taken for constant
# return dx, -> dx[x.std(axis=-1) < 1e-4] = 0.0\n    return dx,


# wrong: dgamma and dbeta swapped
# (dy * xhat).sum(0), dy.sum(0) -> dy.sum(0), (dy * xhat).sum(0)


# wrong: single precision statistics
# xhat = (x - mean) * rstd -> rstd = rstd.astype(np.float32)\n    xhat = (x - mean) * rstd
