import numpy as np


# right: three paths
def layer_norm_backward(dy, x, gamma, eps):
    mean = x.mean(axis=-1, keepdims=True)
    var = x.var(axis=-1, keepdims=True)
    xhat = (x - mean) / np.sqrt(var + eps)
    g = dy * gamma
    dx = (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True)) / np.sqrt(var + eps)
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)


# right: a Jacobian for each row
def layer_norm_backward(dy, x, gamma, eps):
    n, d = x.shape
    dx, dgamma = np.zeros((n, d)), np.zeros(d)
    for i in range(n):
        centred = x[i] - x[i].sum() / d
        std = np.sqrt(centred @ centred / d + eps)
        xhat = centred / std
        dgamma += dy[i] * xhat
        dx[i] = (np.eye(d) - np.ones((d, d)) / d - np.outer(xhat, xhat) / d) @ (gamma * dy[i]) / std
    return dx, dgamma, np.ones(n) @ dy


# right: through dvar and dmean, as in a textbook
def layer_norm_backward(dy, x, gamma, eps):
    d = x.shape[1]
    mu = np.mean(x, 1)[:, None]
    var = np.mean((x - mu) ** 2, 1)[:, None]
    dxhat = dy * gamma
    dvar = np.sum(dxhat * (x - mu) * -0.5 * (var + eps) ** -1.5, 1)[:, None]
    dmu = np.sum(-dxhat / np.sqrt(var + eps), 1)[:, None]
    dx = dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / d + dmu / d
    return dx, np.sum(dy * (x - mu) / np.sqrt(var + eps), 0), np.sum(dy, 0)


# right: the batch along the last axis
def layer_norm_backward(dy, x, gamma, eps):
    X, G, d = x.T, (dy * gamma).T, x.shape[1]
    rstd = 1 / np.sqrt(X.var(0) + eps)
    Z = (X - X.mean(0)) * rstd
    DX = (d * G - G.sum(0) - Z * (G * Z).sum(0)) * (rstd / d)
    return DX.T, (dy.T * Z).sum(1), dy.T.sum(1)


# wrong: mean and variance are constants
# (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True)) -> g


# wrong: no path through the mean
# g - g.mean(axis=-1, keepdims=True) -> g


# wrong: no path through the variance
#  - xhat * (g * xhat).mean(axis=-1, keepdims=True) ->


# wrong: sums in place of means in dx
# g.mean(axis=-1, keepdims=True) -> g.sum(axis=-1, keepdims=True)


# wrong: eps outside the root in dx
# keepdims=True)) / np.sqrt(var + eps) -> keepdims=True)) / (np.sqrt(var) + eps)


# wrong: eps left out
# var + eps -> var


# wrong: eps left out of xhat only
# (x - mean) / np.sqrt(var + eps) -> (x - mean) / np.sqrt(var)


# wrong: eps is always 1e-5
# var = x.var -> eps = 1e-5; var = x.var


# wrong: the unbiased variance
# keepdims=True)\n    xhat -> keepdims=True, ddof=1)\n    xhat


# wrong: gamma missing
# g = dy * gamma -> g = dy


# wrong: gamma after the projection
# g = dy * gamma\n    dx = ( -> g = dy\n    dx = gamma * (


# wrong: dgamma with x
# (dy * xhat).sum -> (dy * x).sum


# wrong: dgamma with gamma
# (dy * xhat).sum -> (g * xhat).sum


# wrong: dbeta with gamma
# dy.sum(axis=0) -> g.sum(axis=0)


# wrong: dgamma and dbeta are means
# xhat).sum(axis=0), dy.sum(axis=0) -> xhat).mean(axis=0), dy.mean(axis=0)


# wrong: dgamma and dbeta swapped
# (dy * xhat).sum(axis=0), dy.sum(axis=0) -> dy.sum(axis=0), (dy * xhat).sum(axis=0)


# wrong: statistics over the batch
# x.mean(axis=-1, keepdims=True)\n    var = x.var(axis=-1, keepdims=True) -> x.mean(axis=0)\n    var = x.var(axis=0)


# wrong: statistics of the whole array
# x.mean(axis=-1, keepdims=True)\n    var = x.var(axis=-1, keepdims=True) -> x.mean()\n    var = x.var()


# wrong: divided by the variance
# keepdims=True)) / np.sqrt(var + eps) -> keepdims=True)) / (var + eps)


# wrong: the last row's statistics for all
# keepdims=True)\n    var = -> keepdims=True)[-1:]\n    var =


# wrong: x is centred in place
# xhat = (x - mean) -> x -= mean; xhat = x


# wrong: gamma's gradient kept per row
# (dy * xhat).sum(axis=0) -> dy * xhat


# wrong: RMSNorm: no centring
# mean = x.mean(axis=-1, keepdims=True)\n    var = x.var(axis=-1, keepdims=True) -> mean = 0\n    var = (x**2).mean(axis=-1, keepdims=True)


# wrong: xhat of the last forward with this gamma
kept = {}


def layer_norm_backward(dy, x, gamma, eps):
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    xhat = kept.setdefault(gamma.tobytes(), (x - x.mean(axis=-1, keepdims=True)) * rstd)
    g = dy * gamma
    dx = (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True)) * rstd
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)


# wrong: cached by x and gamma, so eps of the first call stays
kept = {}


def layer_norm_backward(dy, x, gamma, eps):
    eps = kept.setdefault((x.tobytes(), gamma.tobytes()), eps)
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    xhat = (x - x.mean(axis=-1, keepdims=True)) * rstd
    g = dy * gamma
    dx = (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True)) * rstd
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
