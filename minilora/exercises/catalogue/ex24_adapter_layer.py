"""Exercise 24: a bottleneck adapter.

The backward is not asked where relu has its kink, within rounding: a pre-activation of nearly 0 is passed over.
"""

import numpy as np

from minilora.exercises.spec import Call, Case, Exercise, Floats, check_equal, rounding, sizes_of, wide

KINK = 1e-3


def _forward(h, D, b, U, c):
    return h + np.maximum(h @ D.T + b, 0) @ U.T + c


def _backward(dy, h, D, b, U):
    return dy + (dy @ U * (h @ D.T + b > 0)) @ D


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    values = dict(case.values)
    dy = values.pop("dy")
    right = wide(values)
    tolerance = rounding(case, _forward(**sizes_of(right)))
    got = call("adapter_forward", **values)
    check_equal("y = h + relu(h D^T + b) U^T + c", _forward(**right), got, tolerance)
    del values["c"], right["c"]
    if np.abs(right["h"] @ right["D"].T + right["b"]).min() < KINK:
        return
    size = np.abs(dy) + np.abs(dy) @ np.abs(right["U"]) @ np.abs(right["D"])
    got = call("adapter_backward", dy=dy, **values)
    check_equal("dh = dy + (dy U * relu') D", _backward(wide(dy), **right), got, rounding(case, size))


def _forward_in_place(h, D, b, U, c):
    h += np.maximum(h @ D.T + b, 0) @ U.T + c
    return h


EXERCISE = Exercise(
    title="an adapter layer",
    lesson=11,
    minutes=15,
    functions={"adapter_forward": _forward, "adapter_backward": _backward},
    inputs={
        "h": Floats("n k"),
        "D": Floats("m k"),
        "b": Floats("m"),
        "U": Floats("k m"),
        "c": Floats("k"),
        "dy": Floats("n k"),
    },
    sizes={"m": (1, 3)},
    judge=_judge,
    hints=(
        "Forward: h @ D.T + b is (n, m); np.maximum(z, 0) is relu; then up with U.T, and add h itself.",
        "Backward: dy takes two paths. Straight through the skip, and back through U, the open gates and D.",
        "return dy + (dy @ U * (h @ D.T + b > 0)) @ D",
    ),
    wrong={
        "the skip connection is missing": {
            "adapter_forward": lambda h, D, b, U, c: np.maximum(h @ D.T + b, 0) @ U.T + c
        },
        "the nonlinearity is missing": {"adapter_forward": lambda h, D, b, U, c: h + (h @ D.T + b) @ U.T + c},
        "relu is applied to the sum at the end": {
            "adapter_forward": lambda h, D, b, U, c: np.maximum(h + (h @ D.T + b) @ U.T + c, 0)
        },
        "the bias b is missing": {"adapter_forward": lambda h, D, b, U, c: h + np.maximum(h @ D.T, 0) @ U.T + c},
        "the bias b is added after relu": {
            "adapter_forward": lambda h, D, b, U, c: h + (np.maximum(h @ D.T, 0) + b) @ U.T + c
        },
        "h is changed in place": {"adapter_forward": _forward_in_place},
        "dh lacks the skip connection's dy": {
            "adapter_backward": lambda dy, h, D, b, U: (dy @ U * (h @ D.T + b > 0)) @ D
        },
        "dh lacks relu's slope": {"adapter_backward": lambda dy, h, D, b, U: dy + dy @ U @ D},
        "relu's slope is taken without the bias b": {
            "adapter_backward": lambda dy, h, D, b, U: dy + (dy @ U * (h @ D.T > 0)) @ D
        },
        "relu's value stands where its slope belongs": {
            "adapter_backward": lambda dy, h, D, b, U: dy + (dy @ U * np.maximum(h @ D.T + b, 0)) @ D
        },
    },
)
