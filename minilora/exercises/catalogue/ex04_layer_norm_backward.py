"""Exercise 4: the backward of LayerNorm."""

import numpy as np

from minilora.exercises.spec import Exercise, Floats, OneOf


def layer_norm_backward(dy, x, gamma, eps):
    std = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    xhat = (x - x.mean(axis=-1, keepdims=True)) / std
    g = dy * gamma
    mean_path = g.mean(axis=-1, keepdims=True)
    variance_path = xhat * (g * xhat).mean(axis=-1, keepdims=True)
    return (g - mean_path - variance_path) / std, (dy * xhat).sum(axis=0), dy.sum(axis=0)


def magnitude(dy, x, gamma, eps):
    """xhat carries an error of u |x| / std; dx multiplies it by |g| / std and |xhat| <= sqrt(d)."""
    std = np.sqrt(x.var(axis=-1) + eps).min()
    error = 1 + np.abs(x).max() / std
    g = np.abs(dy * gamma).max() + np.abs(dy).max()
    return g * error * (1 + x.shape[1]) / std, len(x) * error * g, len(x) * g


EXERCISE = Exercise(
    title="LayerNorm, backward",
    lesson=2,
    minutes=30,
    functions={"layer_norm_backward": layer_norm_backward},
    inputs={"dy": Floats("n d"), "x": Floats("n d"), "gamma": Floats("d"), "eps": OneOf((0.5, 0.1, 1e-3))},
    sizes={"d": (1, 5)},
    magnitude=magnitude,
    outputs=(
        "dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps), g = dy gamma",
        "dgamma = sum of dy xhat over the rows",
        "dbeta = sum of dy over the rows",
    ),
    hints=(
        "Start with dgamma and dbeta: for them xhat is a constant. For dx, let g = dy * gamma be the gradient at xhat.",
        "x_j moves xhat_i in three ways: directly, through the mean and through the variance. Each gives a term of dx.",
        "dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps), means over the last axis with keepdims=True.",
    ),
    slips={
        "mean and variance are treated as constants: both depend on x": "g - mean_path - variance_path -> g",
        "the path through the variance is missing": " - variance_path) -> )",
        "the path through the mean is missing": "g - mean_path -> g",
        "eps is outside the root: it is sqrt(var + eps)": "np.sqrt(x.var(axis=-1, keepdims=True) + eps) -> "
        "x.std(axis=-1, keepdims=True) + eps",
        "the variance divides by d - 1: LayerNorm's divides by d": "x.var(axis=-1, keepdims=True) -> "
        "((x - x.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1, keepdims=True) / np.float32(x.shape[-1] - 1)",
        "gamma is missing in dx": "g = dy * gamma -> g = dy",
        "dgamma uses x instead of xhat": "(dy * xhat) -> (dy * x)",
        "dgamma and dbeta are means over the rows: they must be sums": ".sum(axis=0) -> .mean(axis=0)",
        "dgamma's xhat is normalised down the columns: the mean is over each row": "(dy * xhat) -> "
        "(dy * ((x - x.mean(0)) / np.sqrt(x.var(0) + eps)))",
    },
)
