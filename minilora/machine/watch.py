"""A watch over a training run: it raises when a loss or gradient is not finite, and puts the last good weights back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from minilora.machine.backend import Array, Scalar


class NonFiniteLossError(RuntimeError):
    """The loss or a gradient became infinite or NaN; the model holds the last good weights."""


class Watch:
    """Checks the loss and the gradients' norm of each step, and takes back a large update that makes them infinite.

    An update is small if it moves a weight by less than the weights' own size. It cannot take finite weights to where
    they overflow, and needs no copy of what was there before; a large one can, at a far too high learning rate.
    On the host a step is checked before its update. On a GPU a check would wait for the step, so the numbers stay
    there until `look`; meanwhile the GPU itself decides whether a step is good and which weights to keep.
    """

    def __init__(self, weights: Mapping[str, Array], losses: list[float], xp: ModuleType, of: str = "") -> None:
        """
        weights  the arrays that train, by name
        losses   the list to which each step's loss is appended
        xp       the library that owns losses and norms
        of       what trains, for the message, if there are several
        """
        self.weights, self.losses, self.xp, self.of = weights, losses, xp, of
        squares = sum(w.ravel() @ w.ravel() for w in weights.values())
        self.size: Any = (squares / sum(w.size for w in weights.values())) ** 0.5  # their root mean square
        self.kept: dict[str, Array] = {}
        self.small: Any = self.size >= 0  # whether the latest update was: true, on the weights' device
        self.good: Any = self.small  # whether all steps so far were
        self.unseen: list[Any] = []  # loss, norm, small, loss, norm, small, ...

    def step(self, loss: Scalar, norm: Scalar, reach: float = math.inf) -> None:
        """Note a step's loss and its gradients' norm, before the update, which moves a weight by about `reach`."""
        self.unseen += [loss, norm, self.small]
        small = reach <= self.size
        if self.xp is np:
            self.look()
            self.kept = {} if small else {name: w.copy() for name, w in self.weights.items()}
        else:
            before = self.good
            self.good = self.xp.isfinite(loss) & self.xp.isfinite(norm) & before
            for name, w in self.weights.items():
                if name not in self.kept:
                    self.kept[name] = w.copy()
                self.xp.copyto(self.kept[name], w, where=self.xp.where(self.small, before, self.good))
        self.small = small

    def look(self) -> None:
        """Bring the numbers to the host.  NonFiniteLossError names the first bad step; its weights are put back."""
        if not self.unseen:
            return
        numbers = self.unseen if self.xp is np else self.xp.stack(self.unseen).tolist()  # in one transfer
        self.unseen = []
        for loss, norm, small in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._put_back(
                    f"step {len(self.losses)}{self.of}: the loss is {loss} and the gradients' norm {norm}. The model "
                    f"holds the weights of {'this step' if small else 'the last step where both were finite'}"
                )
            self.losses.append(loss)

    def after_update(self, loss: float) -> None:
        """NonFiniteLossError, with the weights before it put back, if the latest update leads to such a loss."""
        if not math.isfinite(loss):
            if self.small:
                self.kept = {}
            self._put_back(
                f"step {len(self.losses) - 1}{self.of}: its update leads to a loss of {loss}. The model holds the "
                f"weights from {'after' if self.small else 'before'} it"
            )

    def _put_back(self, found: str) -> NoReturn:
        for name, w in self.kept.items():
            self.weights[name][...] = w
        raise NonFiniteLossError(f"{found}. Try a lower learning rate, or a lower clip")

    def latest(self) -> float:
        """The loss of the latest step."""
        self.look()
        return self.losses[-1]
