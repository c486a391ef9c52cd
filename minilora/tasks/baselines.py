"""Answers that need no model: what a task's scores are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from minilora.tasks.task import PROMPT_END, Example


def copy_prompt(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """The prompt itself."""
    return [example.prompt.removesuffix(PROMPT_END).strip() for example in test]


def of_another(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """The answer to a random training prompt: the score of fluency without understanding."""
    chosen = np.random.default_rng(0).integers(len(train), size=len(test))
    return [train[i].answer for i in chosen]


def majority(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """The most common answer of the training split."""
    [(most, _)] = Counter(example.answer for example in train).most_common(1)
    return [most] * len(test)
