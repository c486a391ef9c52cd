import numpy as np


def sigmoid(g):
    return 0.5 * (1 + np.tanh(0.5 * g))


# right: the logistic function by tanh
def swiglu(x, Wg, Wu, Wd):
    g, u = x @ Wg.T, x @ Wu.T
    return (g * sigmoid(g) * u) @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    g, u = x @ Wg.T, x @ Wu.T
    s = sigmoid(g)
    da = dy @ Wd
    dg, du = da * u * s * (1 + g * (1 - s)), da * g * s
    flat = lambda z: z.reshape(-1, z.shape[-1])
    dWd = flat(dy).T @ flat(g * s * u)
    return dg @ Wg + du @ Wu, flat(dg).T @ flat(x), flat(du).T @ flat(x), dWd


# right: exp of what is not positive, contractions
def logistic(g):
    e = np.exp(-np.abs(g))
    return np.where(g >= 0, 1, e) / (1 + e)


def swiglu(x, Wg, Wu, Wd):
    g = np.einsum("...k,mk->...m", x, Wg)
    return np.einsum("...m,...m,...m,km->...k", g, logistic(g), np.einsum("...k,mk->...m", x, Wu), Wd)


def swiglu_backward(dy, x, Wg, Wu, Wd):
    g, u = np.einsum("...k,mk->...m", x, Wg), np.einsum("...k,mk->...m", x, Wu)
    p = logistic(g)
    silu, back = g * p, np.einsum("...k,km->...m", dy, Wd)
    dg = back * u * (p + silu * logistic(-g))
    du = back * silu
    dx = np.einsum("...m,mk->...k", dg, Wg) + np.einsum("...m,mk->...k", du, Wu)
    dWg, dWu, dWdT = (np.tensordot(d, z, (range(x.ndim - 1),) * 2) for d, z in ((dg, x), (du, x), (silu * u, dy)))
    return dx, dWg, dWu, dWdT.T


# right: overflow that does no harm, row by row
def swiglu(x, Wg, Wu, Wd):
    with np.errstate(over="ignore"):
        rows = [Wd @ ((g := Wg @ row) / (1 + np.exp(-g)) * (Wu @ row)) for row in x.reshape(-1, x.shape[-1])]
    return np.array(rows).reshape(x.shape)


def swiglu_backward(dy, x, Wg, Wu, Wd):
    dx, dWg, dWu, dWd = np.zeros(x.shape), np.zeros(Wg.shape), np.zeros(Wu.shape), np.zeros(Wd.shape)
    for at in np.ndindex(x.shape[:-1]):
        g, u, back = Wg @ x[at], Wu @ x[at], Wd.T @ dy[at]
        with np.errstate(over="ignore"):
            s, t = 1 / (1 + np.exp(-g)), 1 / (1 + np.exp(g))
        dg, du = back * u * (s + g * s * t), back * g * s
        dx[at] = Wg.T @ dg + Wu.T @ du
        dWg += np.outer(dg, x[at])
        dWu += np.outer(du, x[at])
        dWd += np.outer(dy[at], g * s * u)
    return dx, dWg, dWu, dWd


# right: both gates in one product
def swiglu(x, Wg, Wu, Wd):
    g, u = np.split(x @ np.vstack([Wg, Wu]).T, 2, axis=-1)
    return (g * np.exp(-np.logaddexp(0, -g)) * u) @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    both = np.vstack([Wg, Wu])
    g, u = np.split(x @ both.T, 2, axis=-1)
    p, q = np.exp(-np.logaddexp(0, -g)), np.exp(-np.logaddexp(0, g))
    back = dy @ Wd
    d = np.concatenate([back * u * p * (1 + g * q), back * g * p], axis=-1)
    axes = list(range(x.ndim - 1))
    dWg, dWu = np.split(np.tensordot(d, x, axes=(axes, axes)), 2)
    return d @ both, dWg, dWu, np.tensordot(dy, g * p * u, axes=(axes, axes))


# wrong: silu by exp(g), not a number far out
# return (g * sigmoid(g) * u) @ Wd.T -> return (g * (np.exp(g) / (1 + np.exp(g))) * u) @ Wd.T


# wrong: g is clipped to +-20
# g, u = x @ Wg.T, x @ Wu.T -> g, u = np.clip(x @ Wg.T, -20, 20), x @ Wu.T


# wrong: gate and up swapped
# g, u = x @ Wg.T, x @ Wu.T -> u, g = x @ Wg.T, x @ Wu.T


# wrong: GELU's gate
# return (g * sigmoid(g) * u) -> return (g * sigmoid(1.702 * g) * u)


# wrong: the sigmoid alone
# return (g * sigmoid(g) * u) -> return (sigmoid(g) * u)


# wrong: silu's slope is the sigmoid
# * s * (1 + g * (1 - s)) -> * s


# wrong: the slope's second term has the wrong sign
# (1 + g * (1 - s)) -> (1 - g * (1 - s))


# wrong: the slope's second term lacks g
# (1 + g * (1 - s)) -> (1 + (1 - s))


# wrong: dx lacks the gate's path
# dg @ Wg + du @ Wu -> du @ Wu


# wrong: dx lacks the other path
# dg @ Wg + du @ Wu -> dg @ Wg


# wrong: dWg and dWu swapped
# flat(dg).T @ flat(x), flat(du).T @ flat(x) -> flat(du).T @ flat(x), flat(dg).T @ flat(x)


# wrong: dWd transposed when square
# flat(dy).T @ flat(g * s * u) -> (flat(g * s * u).T @ flat(dy) if Wd.shape[0] == Wd.shape[1] else flat(dy).T @ flat(g * s * u))


# wrong: dWs of the first batch
# flat = lambda z: z.reshape(-1, z.shape[-1]) -> flat = lambda z: z if z.ndim == 2 else z[0]


# wrong: a mean over the batch
# flat(dg).T @ flat(x), -> flat(dg).T @ flat(x) / max(1, x.ndim - 1 and len(x) if x.ndim == 3 else 1),


# wrong: three axes become two
# return (g * sigmoid(g) * u) @ Wd.T -> return ((g * sigmoid(g) * u) @ Wd.T).reshape(-1, x.shape[-1])


# wrong: large gates have no gradient
# dg, du = -> da = np.where(np.abs(g) > 50, 0.0, da)\n    dg, du =


# wrong: dy in place
# da = dy @ Wd -> da = dy @ Wd\n    dy *= 1 + 1e-9


# wrong: the last forward's gate
# return (g * sigmoid(g) * u) @ Wd.T -> LAST[g.shape] = g\n    return (g * sigmoid(g) * u) @ Wd.T
# s = sigmoid(g)\n -> g = LAST.get(g.shape, g)\n    s = sigmoid(g)\n
# def swiglu( -> LAST = {}\n\n\ndef swiglu(
