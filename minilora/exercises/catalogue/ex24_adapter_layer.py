"""Exercise 24: a bottleneck adapter."""

import numpy as np

from minilora.exercises.spec import Exercise, Floats

KINK = 1e-4  # of the terms' absolute values: more than float32's rounding


def adapter_forward(h, D, b, U, c):
    z = h @ D.T + b
    return h + np.maximum(z, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    slope = h @ D.T + b > 0
    return dy + (dy @ U * slope) @ D


def backward_magnitude(dy, h, D, b, U):
    """Unlimited in a row where relu has its kink: within rounding of 0, either slope is right."""
    kink = np.abs(h @ D.T + b) <= KINK * (np.abs(h) @ np.abs(D).T + np.abs(b))
    return np.where(kink.any(axis=1)[:, None], np.inf, np.abs(dy) + np.abs(dy) @ np.abs(U) @ np.abs(D))


EXERCISE = Exercise(
    title="a bottleneck layer",
    lesson=11,
    minutes=15,
    functions={"adapter_forward": adapter_forward, "adapter_backward": adapter_backward},
    inputs={
        "h": Floats("n k"),
        "D": Floats("m k"),
        "b": Floats("m"),
        "U": Floats("k m"),
        "c": Floats("k"),
        "dy": Floats("n k"),
    },
    sizes={"m": (1, 3)},
    magnitude={"adapter_backward": backward_magnitude},
    outputs={
        "adapter_forward": ("y = h + relu(h D^T + b) U^T + c",),
        "adapter_backward": ("dh = dy + (dy U * relu') D",),
    },
    hints=(
        "Forward: h @ D.T + b is (n, m); np.maximum(z, 0) is relu; then up with U.T, and add h itself.",
        "Backward: dy takes two paths. Straight through the skip, and back through U, the open gates and D.",
        "return dy + (dy @ U * (h @ D.T + b > 0)) @ D",
    ),
    slips={
        "the skip connection is missing": "return h + -> return",
        "the nonlinearity is missing": "np.maximum(z, 0) -> z",
        "relu is applied to the sum at the end": "h + np.maximum(z, 0) @ U.T + c -> np.maximum(h + z @ U.T + c, 0)",
        "the bias b is missing": "z = h @ D.T + b -> z = h @ D.T",
        "the bias b is added after relu": (
            "z = h @ D.T + b -> z = h @ D.T",
            "np.maximum(z, 0) -> (np.maximum(z, 0) + b)",
        ),
        "h is changed in place": "return h + np.maximum(z, 0) @ U.T + c -> h += np.maximum(z, 0) @ U.T + c; return h",
        "dh lacks the skip connection's dy": "dy + (dy -> (dy",
        "dh lacks relu's slope": " * slope -> ",
        "relu's slope is taken without the bias b": "slope = h @ D.T + b -> slope = h @ D.T",
        "relu's value is used in place of its slope": "slope = h @ D.T + b > 0 -> slope = np.maximum(h @ D.T + b, 0)",
    },
)
