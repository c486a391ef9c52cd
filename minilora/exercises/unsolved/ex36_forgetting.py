"""Exercise 36 (lesson 14): how much a run forgets, compared with other runs at equal loss, not after equal steps."""

import numpy as np


def forgetting_at(new_loss: np.ndarray, old_loss: np.ndarray, level: float) -> float | None:
    """How much the loss on the old task has risen when the loss on the new task first reaches `level`.

    new_loss, old_loss   (n,), n >= 1: both losses at the same n checkpoints, the first of them before training. Neither
                         need fall or rise steadily.

    The level is reached at the first checkpoint i with new_loss[i] <= level, or rather between i - 1 and i: join the
    checkpoints by straight lines, and take old_loss at the point where new_loss is equal to level. If i = 0, take
    old_loss[0].

    Returns that old_loss minus old_loss[0] (below 0 if the run got better at the old task), or None if no checkpoint
    reaches the level.
    """
    raise NotImplementedError


def compare_forgetting(runs: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The forgetting of every run at the lowest level that all of them reach.

    runs   name -> (new_loss, old_loss), as above; runs may differ in length

    Returns name -> forgetting.
    """
    raise NotImplementedError
