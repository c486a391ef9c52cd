import numpy as np


# right: as the text, with tanh
def sigmoid(g):
    return 0.5 * (1 + np.tanh(0.5 * g))


def swiglu(x, Wg, Wu, Wd):
    g, u = x @ Wg.T, x @ Wu.T
    return (g * sigmoid(g) * u) @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    k = x.shape[-1]
    g, u = x @ Wg.T, x @ Wu.T
    s = sigmoid(g)
    h = g * s
    da = dy @ Wd
    du = da * h
    dh = da * u
    dg = dh * (s + g * s * (1 - s))
    dx = dg @ Wg + du @ Wu
    rows = x.reshape(-1, k)
    dWg = dg.reshape(-1, len(Wg)).T @ rows
    dWu = du.reshape(-1, len(Wu)).T @ rows
    dWd = dy.reshape(-1, k).T @ (h * u).reshape(-1, len(Wg))
    return dx, dWg, dWu, dWd


# right: row by row, two branches of the sigmoid
def silu(g):
    e = np.exp(-np.abs(g))
    return g * np.where(g >= 0, 1, e) / (1 + e)


def slope(g):
    e = np.exp(-np.abs(g))
    s = np.where(g >= 0, 1, e) / (1 + e)
    return s * (1 + g * np.where(g >= 0, e, 1) / (1 + e))


def swiglu(x, Wg, Wu, Wd):
    y = np.zeros(x.shape, x.dtype)
    for i in np.ndindex(x.shape[:-1]):
        y[i] = Wd @ (silu(Wg @ x[i]) * (Wu @ x[i]))
    return y


def swiglu_backward(dy, x, Wg, Wu, Wd):
    dx, dWg, dWu, dWd = (np.zeros_like(a) for a in (x, Wg, Wu, Wd))
    for i in np.ndindex(x.shape[:-1]):
        g, u = Wg @ x[i], Wu @ x[i]
        da = Wd.T @ dy[i]
        dg, du = da * u * slope(g), da * silu(g)
        dx[i] = Wg.T @ dg + Wu.T @ du
        dWg += np.outer(dg, x[i])
        dWu += np.outer(du, x[i])
        dWd += np.outer(dy[i], silu(g) * u)
    return dx, dWg, dWu, dWd


# right: einsum; exp with errors off, as g / (1 + inf) is 0
def swiglu(x, Wg, Wu, Wd):
    g = np.einsum("...k,mk->...m", x, Wg)
    with np.errstate(over="ignore"):
        h = g / (1 + np.exp(-g))
    return np.einsum("...m,...m,km->...k", h, np.einsum("...k,mk->...m", x, Wu), Wd)


def swiglu_backward(dy, x, Wg, Wu, Wd):
    g, u = np.einsum("...k,mk->...m", x, Wg), np.einsum("...k,mk->...m", x, Wu)
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(-g))
    da = np.einsum("...k,km->...m", dy, Wd)
    dg, du = da * u * s * (1 + g * (1 - s)), da * g * s
    dx = np.einsum("...m,mk->...k", dg, Wg) + np.einsum("...m,mk->...k", du, Wu)
    pairs = ((dg, x), (du, x), (dy, g * s * u))
    return [dx] + [np.einsum("...d,...k->...dk", a, b).reshape(-1, a.shape[-1], b.shape[-1]).sum(0) for a, b in pairs]


# right: gate and up as one matrix, sums with tensordot
def both(x, Wg, Wu):
    out = x @ np.concatenate([Wg, Wu]).T
    g, u = out[..., : len(Wg)], out[..., len(Wg) :]
    s = np.tanh(g / 2) / 2 + 0.5
    return g, u, s


def swiglu(x, Wg, Wu, Wd):
    g, u, s = both(x, Wg, Wu)
    return u * s * g @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    g, u, s = both(x, Wg, Wu)
    leading = list(range(x.ndim - 1))
    da = dy @ Wd
    d = np.concatenate([da * u * (s + g * s - g * s * s), da * g * s], axis=-1)
    dW = np.tensordot(d, x, axes=(leading, leading))
    return d @ np.vstack([Wg, Wu]), dW[: len(Wg)], dW[len(Wg) :], np.tensordot(dy, g * s * u, axes=(leading, leading))


# wrong: silu is 0 below -4
# (g * sigmoid(g) * u) @ -> (np.where(g < -4, 0, g * sigmoid(g)) * u) @


# wrong: gate and up in one product, split the wrong way
# def swiglu(x, Wg, Wu, Wd):\n    g, u = x @ Wg.T, x @ Wu.T -> def swiglu(x, Wg, Wu, Wd):\n    g, u = np.split(x @ np.stack([Wg, Wu], 1).reshape(-1, x.shape[-1]).T, 2, axis=-1)


# wrong: the slope is 1 for large g
# (s + g * s * (1 - s)) -> np.where(abs(g) > 3, g > 0, s + g * s * (1 - s))


# wrong: dWd in float32
# dWd = dy.reshape(-1, k).T @ (h * u).reshape(-1, len(Wg)) -> dWd = dy.reshape(-1, k).T.astype("f4") @ (h * u).reshape(-1, len(Wg)).astype("f4")


# wrong: silu on up
# (g * sigmoid(g) * u) @ -> (g * u * sigmoid(u)) @


# wrong: a sigmoid gate
# (g * sigmoid(g) * u) @ -> (sigmoid(g) * u) @


# wrong: relu
# (g * sigmoid(g) * u) @ -> (np.maximum(g, 0) * u) @


# wrong: GELU's sigmoid
# (g * sigmoid(g) * u) @ -> (g * sigmoid(1.702 * g) * u) @


# wrong: tanh gate
# (g * sigmoid(g) * u) @ -> (np.tanh(g) * u) @


# wrong: bilinear
# (g * sigmoid(g) * u) @ -> (g * u) @


# wrong: silu of both
# (g * sigmoid(g) * u) @ -> (g * sigmoid(g) * u * sigmoid(u)) @


# wrong: silu of the product
# (g * sigmoid(g) * u) @ -> (g * u * sigmoid(g * u)) @


# wrong: silu of the result
# return (g * sigmoid(g) * u) @ Wd.T -> y = (g * u) @ Wd.T\n    return y * sigmoid(y)


# wrong: up left out
# (g * sigmoid(g) * u) @ -> (g * sigmoid(g)) @


# wrong: added
# (g * sigmoid(g) * u) @ -> (g * sigmoid(g) + u) @


# wrong: residual added
# return (g * sigmoid(g) * u) @ Wd.T -> return x + (g * sigmoid(g) * u) @ Wd.T


# wrong: exp over 1 plus exp
# 0.5 * (1 + np.tanh(0.5 * g)) -> np.exp(g) / (1 + np.exp(g))


# wrong: g clipped at 30 before the sigmoid, and after
# return 0.5 * (1 + np.tanh(0.5 * g)) -> g = np.clip(g, -5, 5)\n    return 0.5 * (1 + np.tanh(0.5 * g))


# wrong: gate clipped
# g, u = x @ Wg.T, x @ Wu.T\n    return -> g, u = np.clip(x @ Wg.T, -100, 100), x @ Wu.T\n    return


# wrong: inf becomes 0
# return 0.5 * (1 + np.tanh(0.5 * g)) -> return np.nan_to_num(np.exp(g) / (1 + np.exp(g)))


# wrong: sigmoid with the wrong sign
# 0.5 * (1 + np.tanh(0.5 * g)) -> 0.5 * (1 - np.tanh(0.5 * g))


# wrong: tanh of g
# np.tanh(0.5 * g) -> np.tanh(g)


# wrong: half precision
# g * sigmoid(g) * u) @ -> g * sigmoid(g).astype("f2").astype(g.dtype) * u) @


# wrong: no slope
# dg = dh * (s + g * s * (1 - s)) -> dg = dh * s


# wrong: the sigmoid's slope
# (s + g * s * (1 - s)) -> (s * (1 - s))


# wrong: the second term lacks g
# g * s * (1 - s) -> s * (1 - s)


# wrong: the second term's sign
# (s + g * s -> (s - g * s


# wrong: dh passes straight
# dg = dh * (s + g * s * (1 - s)) -> dg = dh


# wrong: dh without u
# dh = da * u -> dh = da


# wrong: du without h
# du = da * h -> du = da


# wrong: du with g
# du = da * h -> du = da * g


# wrong: du with s
# du = da * h -> du = da * s


# wrong: gradients of gate and up swapped
# return dx, dWg, dWu, dWd -> return dx, dWu, dWg, dWd


# wrong: dx by the gate only
# dx = dg @ Wg + du @ Wu -> dx = dg @ Wg


# wrong: dx by up only
# dx = dg @ Wg + du @ Wu -> dx = du @ Wu


# wrong: dx with swapped weights
# dx = dg @ Wg + du @ Wu -> dx = dg @ Wu + du @ Wg


# wrong: dx with the residual's dy
# dx = dg @ Wg + du @ Wu -> dx = dy + dg @ Wg + du @ Wu


# wrong: dWd without u
# (h * u).reshape -> h.reshape


# wrong: dWd without the sigmoid
# (h * u).reshape -> (g * u).reshape


# wrong: dWd is transposed
# return dx, dWg, dWu, dWd -> return dx, dWg, dWu, dWd.T


# wrong: means over the rows
# return dx, dWg, dWu, dWd -> n = len(rows)\n    return dx, dWg / n, dWu / n, dWd / n


# wrong: means over the first axis of three
# return dx, dWg, dWu, dWd -> n = len(x) if x.ndim == 3 else 1\n    return dx, dWg / n, dWu / n, dWd / n


# wrong: the weights of the first element of a batch
# rows = x.reshape(-1, k) -> rows = (x[:1] * np.ones(x.shape, x.dtype)).reshape(-1, k)


# wrong: right for two axes only
# rows = x.reshape(-1, k) -> rows = x


# wrong: rows in memory order
# rows = x.reshape(-1, k) -> rows = x.ravel(order="K").reshape(-1, k)


# wrong: dy scaled in place
# da = dy @ Wd -> dy *= 2\n    da = dy @ Wd / 2\n    dy = dy / 2


# wrong: dx into x
# dx = dg @ Wg + du @ Wu\n    rows = x.reshape(-1, k) -> rows = x.reshape(-1, k).copy()\n    x[...] = dg @ Wg + du @ Wu\n    dx = x


# wrong: h of the last forward
kept = {}


def swiglu(x, Wg, Wu, Wd):
    g, u = x @ Wg.T, x @ Wu.T
    kept["h"] = g * (0.5 * (1 + np.tanh(0.5 * g)))
    return (kept["h"] * u) @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    k = x.shape[-1]
    g, u = x @ Wg.T, x @ Wu.T
    s = 0.5 * (1 + np.tanh(0.5 * g))
    h = kept["h"]
    da = dy @ Wd
    du, dg = da * h, da * u * (s + h * (1 - s))
    rows = x.reshape(-1, k)
    dWg, dWu = dg.reshape(-1, len(Wg)).T @ rows, du.reshape(-1, len(Wu)).T @ rows
    return dg @ Wg + du @ Wu, dWg, dWu, dy.reshape(-1, k).T @ (h * u).reshape(-1, len(Wg))


# wrong: gate kept by x, whatever Wg is
kept = {}


def swiglu(x, Wg, Wu, Wd):
    g = kept.setdefault((x.tobytes(), len(Wg)), x @ Wg.T)
    return (g * 0.5 * (1 + np.tanh(0.5 * g)) * (x @ Wu.T)) @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    k = x.shape[-1]
    g, u = x @ Wg.T, x @ Wu.T
    s = 0.5 * (1 + np.tanh(0.5 * g))
    h = g * s
    da = dy @ Wd
    du, dg = da * h, da * u * (s + h * (1 - s))
    rows = x.reshape(-1, k)
    dWg, dWu = dg.reshape(-1, len(Wg)).T @ rows, du.reshape(-1, len(Wu)).T @ rows
    return dg @ Wg + du @ Wu, dWg, dWu, dy.reshape(-1, k).T @ (h * u).reshape(-1, len(Wg))
