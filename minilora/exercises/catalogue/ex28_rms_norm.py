"""Exercise 28: RMSNorm, forward and backward."""

import numpy as np

from minilora.exercises.spec import Exercise, Floats, OneOf


def rms_norm(x, gamma, eps):
    rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return gamma * x / rms


def rms_norm_backward(dy, x, gamma, eps):
    root = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    xhat = x / root
    g = dy * gamma
    through_root = xhat * (g * xhat).mean(axis=-1, keepdims=True)
    dgamma = (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0)
    return (g - through_root) / root, dgamma


def backward_magnitude(dy, x, gamma, eps):
    """The two terms of dx do not cancel here.  The root has only positive terms, so xhat keeps its digits."""
    dx, dgamma = rms_norm_backward(np.abs(dy), np.abs(x), np.abs(gamma), eps)
    root = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return 2 * np.abs(dy * gamma) / root - dx, dgamma


EXERCISE = Exercise(
    title="RMSNorm, forward and backward",
    lesson=16,
    minutes=25,
    functions={"rms_norm": rms_norm, "rms_norm_backward": rms_norm_backward},
    inputs={
        "dy": Floats("b? n? t? d"),
        "x": Floats("b? n? t? d"),
        "gamma": Floats("d"),
        "eps": OneOf((0.5, 0.1, 1e-3, 1e-6)),
    },
    magnitude={"rms_norm_backward": backward_magnitude},
    outputs={
        "rms_norm": ("y = gamma x / sqrt(mean(x^2) + eps)",),
        "rms_norm_backward": (
            "dx = (g - xhat mean(g xhat)) / sqrt(mean(x^2) + eps), g = dy gamma",
            "dgamma = sum of dy xhat over all rows",
        ),
    },
    hints=(
        "It is LayerNorm (exercise 4) without mean and beta, so one path fewer leads from x to y. Which two are left?",
        "x_j moves xhat_i directly, and through the root: d(1 / root) / dx_j = -x_j / (d root^3). Let g = dy * gamma.",
        "dx = (g - xhat * (g * xhat).mean(axis=-1, keepdims=True)) / root; dgamma sums dy * xhat over every axis but "
        "the last: (dy * xhat).reshape(-1, d).sum(axis=0)",
    ),
    slips={
        "the mean is subtracted: that is LayerNorm": "rms = np.sqrt(( -> x = x - x.mean(axis=-1, keepdims=True); "
        "rms = np.sqrt((",
        "y divides by sqrt(sum(x^2) + eps): it is the mean of the squares": "rms = np.sqrt((x**2).mean( -> "
        "rms = np.sqrt((x**2).sum(",
        "y's mean is over the whole array: each row has its own": "rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) "
        "-> rms = np.sqrt((x**2).mean()",
        "y's mean is over the first axis: it is over the last": "rms = np.sqrt((x**2).mean(axis=-1, -> "
        "rms = np.sqrt((x**2).mean(axis=0,",
        "y has eps outside the root: it is sqrt(mean(x^2) + eps)": "rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) "
        "+ eps) -> rms = np.sqrt((x**2).mean(axis=-1, keepdims=True)) + eps",
        "y divides by mean(x^2) + eps: the root is missing": "x / rms -> x / rms**2",
        "y lacks gamma": "return gamma * x -> return x",
        "dx treats the root as a constant: it depends on x": "(g - through_root) -> g",
        "dx lacks gamma": "g = dy * gamma -> g = dy",
        "dx has the mean's path as well: that is LayerNorm": "(g - through_root) -> "
        "(g - through_root - g.mean(axis=-1, keepdims=True))",
        "dx sums g xhat over the row: it is the mean": "(g * xhat).mean( -> (g * xhat).sum(",
        "dgamma uses x instead of xhat": "(dy * xhat).reshape -> (dy * x).reshape",
        "dgamma is the mean over the rows: it must be the sum": "x.shape[-1]).sum( -> x.shape[-1]).mean(",
        "dgamma sums the first axis only: right only for two axes": "(dy * xhat).reshape(-1, x.shape[-1]) -> "
        "(dy * xhat)",
        "x is normalised in place": "xhat = x / root -> x /= root; xhat = x",
    },
)
