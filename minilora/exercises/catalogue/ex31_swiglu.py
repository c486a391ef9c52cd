"""Exercise 31: the gated MLP, forward and backward."""

import numpy as np

from minilora.exercises.findings import sizes_of
from minilora.exercises.spec import Exercise, Floats


def sigmoid(g):
    return 0.5 * (1 + np.tanh(g / 2))


def swiglu(x, Wg, Wu, Wd):
    gate = x @ Wg.T
    up = x @ Wu.T
    return (gate * sigmoid(gate) * up) @ Wd.T


def swiglu_backward(dy, x, Wg, Wu, Wd):
    g, u = x @ Wg.T, x @ Wu.T
    s = sigmoid(g)
    h = g * s
    da = dy @ Wd
    du = da * h
    dg = da * u * (s + h * (1 - s))
    dx = du @ Wu + dg @ Wg
    return dx, summed(dg, x), summed(du, x), summed(dy, h * u)


def summed(dy, x):
    """dW of y = x W^T, over all rows."""
    return dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])


def magnitude(x, Wg, Wu, Wd):
    """silu's slope is below 1.1, so an error of g or u reaches y with the other's size as its factor."""
    x, Wg, Wu, Wd = sizes_of((x, Wg, Wu, Wd))
    return 3 * (x @ Wg.T * (x @ Wu.T)) @ Wd.T


def backward_magnitude(dy, x, Wg, Wu, Wd):
    """The slope s + g s (1 - s) is below 1.1; 1 - s is out by u, and the slope by that times |g|."""
    dy, x, Wg, Wu, Wd = sizes_of((dy, x, Wg, Wu, Wd))
    g, u, da = x @ Wg.T, x @ Wu.T, dy @ Wd
    du, dg = 3 * da * g, 3 * da * u * (1 + g)
    return du @ Wu + dg @ Wg, summed(dg, x), summed(du, x), summed(dy, 3 * g * u)


EXERCISE = Exercise(
    title="SwiGLU, forward and backward",
    lesson=16,
    minutes=30,
    functions={"swiglu": swiglu, "swiglu_backward": swiglu_backward},
    inputs={
        "dy": Floats("b? t k"),
        "x": Floats("b? t k"),
        "Wg": Floats("m k"),
        "Wu": Floats("m k"),
        "Wd": Floats("k m"),
    },
    magnitude={"swiglu": magnitude, "swiglu_backward": backward_magnitude},
    outputs={
        "swiglu": ("y = (silu(x Wg^T) * (x Wu^T)) Wd^T",),
        "swiglu_backward": (
            "dx = du Wu + dg Wg",
            "dWg = dg^T x, dg = da u silu'(g)",
            "dWu = du^T x, du = da silu(g)",
            "dWd = dy^T a, a = silu(g) u",
        ),
    },
    hints=(
        "Name the middle: g = x Wg^T, u = x Wu^T, h = silu(g), a = h * u, y = a Wd^T. Go back through them in turn.",
        "da = dy Wd. The product gives du = da * h and dh = da * u. silu'(g) = s + g s (1 - s) with s = sigmoid(g); "
        "0.5 * (1 + np.tanh(g / 2)) is a sigmoid that cannot overflow.",
        "dg = da * u * (s + h * (1 - s)); dx = du @ Wu + dg @ Wg; each dW sums over all rows: "
        "dg.reshape(-1, m).T @ x.reshape(-1, k)",
    ),
    slips={
        "silu is on up, not on gate": "(gate * sigmoid(gate) * up) -> (gate * up * sigmoid(up))",
        "the gate is a sigmoid, not silu: multiply by g": "(gate * sigmoid(gate) * up) -> (sigmoid(gate) * up)",
        "the gate is ReLU: that is ReGLU": "(gate * sigmoid(gate) * up) -> (np.maximum(gate, 0) * up)",
        "silu is on the product of gate and up": "(gate * sigmoid(gate) * up) -> (gate * up * sigmoid(gate * up))",
        "there is no gate: this is silu alone": "(gate * sigmoid(gate) * up) -> (gate * sigmoid(gate))",
        "gate and up are added: multiply them": "(gate * sigmoid(gate) * up) -> (gate * sigmoid(gate) + up)",
        "exp overflows, and inf / inf is NaN: choose a form of the sigmoid that cannot": (
            "0.5 * (1 + np.tanh(g / 2)) -> np.exp(g) / (1 + np.exp(g))"
        ),
        "dg lacks the slope of silu": "dg = da * u * (s + h * (1 - s)) -> dg = da * u",
        "silu's slope is taken for the sigmoid's, s (1 - s)": "(s + h * (1 - s)) -> (s * (1 - s))",
        "silu's slope lacks its second term, g s (1 - s)": "(s + h * (1 - s)) -> s",
        "du has g where silu(g) belongs": "du = da * h -> du = da * g",
        "du and dg are mixed up: each is multiplied by the other branch": (
            "du = da * h -> du = da * u",
            "dg = da * u * -> dg = da * h *",
        ),
        "dx lacks the path through the gate": "du @ Wu + dg @ Wg -> du @ Wu",
        "dx lacks the path through up": "du @ Wu + dg @ Wg -> dg @ Wg",
        "dWd uses h, not h u": "summed(dy, h * u) -> summed(dy, h)",
        "the dW are means over the rows: they must be sums": "x.reshape(-1, x.shape[-1])\n -> x.reshape(-1, "
        "x.shape[-1]) / (x.size // x.shape[-1])\n",
        "the dW are transposed: each has its W's shape": "return dx, summed(dg, x), summed(du, x), summed(dy, h * u) "
        "-> return dx, summed(x, dg), summed(x, du), summed(h * u, dy)",
    },
)
