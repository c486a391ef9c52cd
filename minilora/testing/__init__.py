"""The laws of LoRA, to be checked on anyone's implementation (Hu et al. 2021, arXiv 2106.09685, section 4.1).

    from minilora.testing import check_lora
    from mylora import backward, forward, merge, unmerge

    def test_lora():
        check_lora(forward=forward, merge=merge, unmerge=unmerge, backward=backward)

An implementation is up to four plain functions on NumPy arrays, for a batch of row vectors, s = alpha / r:

    forward(x, W0, A, B, scaling)       -> y            y = x W0^T + s (x A^T) B^T      (equation 3)
    merge(W0, A, B, scaling)            -> W            W = W0 + s B A                  (section 4.1)
    unmerge(W, A, B, scaling)           -> W0           W - s B A, or the W0 that merge kept
    backward(dy, x, W0, A, B, scaling)  -> dx, dA, dB   of the loss sum(dy * y); W0 is frozen: no dW0

    x, dx (n, k)     W0, W (d, k)     A, dA (r, k)     B, dB (d, r)     y, dy (n, d)     scaling: s, a float

They are called with positional arguments, must accept every shape, any order in memory and a negative scaling, and
must leave their inputs alone. An implementation that works in place, or on a layer object, needs a wrapper of a line
or two. `check_lora` says how to check a layer with a bias, one that knows it is merged, and inputs (B, T, k).

In reading order: `case`, `bounds`, `laws`, `verdict`, `smallest`, `strategies`, `check`; `dora` has a variant's laws.
This room uses no other module of minilora. `check_lora` and the strategies need hypothesis, which is imported when you
first use one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from minilora.testing.bounds import (
    forward_error_bound,
    gamma,
    merge_error_bound,
    merged_weight_bound,
    unit_roundoff,
    unmerge_drift_bound,
)
from minilora.testing.case import LoraCase

if TYPE_CHECKING:
    from minilora.testing.check import check_lora
    from minilora.testing.strategies import adapters, alphas, dtypes, lora_cases, ranks, shapes, weights

__all__ = ["LoraCase", "adapters", "alphas", "check_lora", "dtypes", "lora_cases", "ranks", "shapes", "weights"]
__all__ += ["forward_error_bound", "merge_error_bound", "merged_weight_bound", "unmerge_drift_bound"]
__all__ += ["gamma", "unit_roundoff"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{'check' if name == 'check_lora' else 'strategies'}"), name)
