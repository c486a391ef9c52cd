"""Exercise 4: the backward of LayerNorm."""

import numpy as np

from minilora.exercises.spec import Exercise, Floats, OneOf


def _mean(x):
    return x.mean(axis=-1, keepdims=True)


def _backward(dy, x, gamma, rstd, mean_path=1.0, variance_path=1.0):
    xhat = (x - _mean(x)) * rstd
    g = dy * gamma
    dx = rstd * (g - mean_path * _mean(g) - variance_path * xhat * _mean(g * xhat))
    return dx, (dy * xhat).sum(0), dy.sum(0)


def _rstd(x, eps, ddof=0):
    return 1 / np.sqrt(x.var(axis=-1, keepdims=True, ddof=ddof) + eps)


def _right(dy, x, gamma, eps):
    return _backward(dy, x, gamma, _rstd(x, eps))


def _magnitude(dy, x, gamma, eps):
    """xhat carries an error of u |x| rstd; dx multiplies it by rstd |g| and |xhat| <= sqrt(d)."""
    rstd = _rstd(x, eps).max()
    error = 1 + np.abs(x).max() * rstd
    g = np.abs(dy * gamma).max() + np.abs(dy).max()
    size = rstd * g * error * (1 + x.shape[1])
    return size, len(x) * error * g, len(x) * g


def _one_axis_off(dy, x, gamma, eps):
    xhat = (x - x.mean(0)) / np.sqrt(x.var(0) + eps)
    return _right(dy, x, gamma, eps)[0], (dy * xhat).sum(0), dy.sum(0)


EXERCISE = Exercise(
    title="LayerNorm, backward",
    lesson=2,
    minutes=30,
    functions={"layer_norm_backward": _right},
    inputs={"dy": Floats("n d"), "x": Floats("n d"), "gamma": Floats("d"), "eps": OneOf((0.5, 0.1, 1e-3))},
    sizes={"d": (2, 5)},
    magnitude=_magnitude,
    outputs=(
        "dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy gamma",
        "dgamma = sum of dy xhat over the rows",
        "dbeta = sum of dy over the rows",
    ),
    hints=(
        "Start with dgamma and dbeta: for them xhat is a constant. For dx, let g = dy * gamma be the gradient at xhat.",
        "x_j moves xhat_i in three ways: directly, through the mean and through the variance. Each gives a term of dx.",
        "dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), all means over the last axis with keepdims=True.",
    ),
    wrong={
        "mean and variance are taken for constants: both depend on x": lambda dy, x, gamma, eps: _backward(
            dy, x, gamma, _rstd(x, eps), 0.0, 0.0
        ),
        "the path through the variance is missing": lambda dy, x, gamma, eps: _backward(
            dy, x, gamma, _rstd(x, eps), 1.0, 0.0
        ),
        "the path through the mean is missing": lambda dy, x, gamma, eps: _backward(
            dy, x, gamma, _rstd(x, eps), 0.0, 1.0
        ),
        "eps stands outside the root: it is sqrt(var + eps)": lambda dy, x, gamma, eps: _backward(
            dy, x, gamma, 1 / (x.std(axis=-1, keepdims=True) + eps)
        ),
        "the variance divides by d - 1: LayerNorm's divides by d": lambda dy, x, gamma, eps: _backward(
            dy, x, gamma, _rstd(x, eps, ddof=1)
        ),
        "gamma is missing in dx": lambda dy, x, gamma, eps: _right(dy, x, 1.0, eps),
        "dgamma uses x instead of xhat": lambda dy, x, gamma, eps: (
            _right(dy, x, gamma, eps)[0],
            (dy * x).sum(0),
            dy.sum(0),
        ),
        "dgamma and dbeta are means over the rows: they must be sums": lambda dy, x, gamma, eps: (
            _right(dy, x, gamma, eps)[0],
            _right(dy, x, gamma, eps)[1] / len(x),
            dy.mean(0),
        ),
        "xhat is normalised down the columns: the mean is over each row": _one_axis_off,
    },
)
