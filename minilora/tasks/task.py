"""A downstream task: prompts with their answers, a score, and batches whose loss counts only the answers.

The objective is the paper's eq. 1: log p(y | x) of the answer y given the prompt x, as bytes. An answer ends with END,
which the model must write too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from minilora.nn import check_type, whole_number
from minilora.text import ByteTokenizer, RowData

PROMPT_END = ">"  # the last byte of a prompt, and nowhere else in it, so that an infix finds its place
END = "\n"  # the end of an answer: one byte, and common in any text
BLOCK_SIZE = 320  # bytes: the shipped base's context
MAX_BYTES = 288  # of a prompt, its answer and END together, which leaves room for special tokens

SPLITS = ("train", "valid", "test")
Scores = dict[str, float]
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Example:
    """The prompt x and the answer y to train on; scorers use the `references` they accept, and `meta`."""

    prompt: str
    answer: str
    references: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Bytes of the prompt, the answer and END."""
        return len((self.prompt + self.answer + END).encode())


def check_examples(examples: Any) -> None:
    """ValueError unless they are a list or tuple of examples."""
    for example in examples if isinstance(examples, (list, tuple)) else [examples]:
        check_type("an example", example, Example, "give a list of tasks.Example(prompt, answer)")


Scorer = Callable[[Sequence[Example], Sequence[str]], Scores]
Baseline = Callable[[Sequence[Example], Sequence[Example]], list[str]]  # (train, test) -> an answer per test


@dataclass(frozen=True)
class Task:
    """Three disjoint splits, a scorer, and baselines.

    `metrics` names the scores, the headline first. `max_new` is the number of bytes of the longest training answer: how
    much a model should be allowed to write.
    """

    name: str
    train: list[Example]
    valid: list[Example]
    test: list[Example]
    metrics: tuple[str, ...]
    scorer: Scorer
    guesses: Mapping[str, Baseline]

    @property
    def max_new(self) -> int:
        return max(len((example.answer + END).encode()) for example in self.train)

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> Scores:
        """Metric -> value, given one answer per example.  ValueError if there are none or their numbers differ."""
        if not examples or len(examples) != len(answers):
            raise ValueError(f"{len(answers)} answers to {len(examples)} examples: give one for each, and at least one")
        return self.scorer(examples, answers)

    def baselines(self) -> dict[str, Scores]:
        """Baseline -> its scores on the test split."""
        return {name: self.score(self.test, guess(self.train, self.test)) for name, guess in self.guesses.items()}


class TaskData(RowData):
    """Batches of whole examples: a byte of an answer or its END weighs 1, one of a prompt or the padding 0.

    ValueError if there are no examples or one does not fit into `block_size` bytes.
    """

    def __init__(self, examples: Sequence[Example], block_size: int = BLOCK_SIZE) -> None:
        check_examples(examples)
        whole_number("block_size", block_size)
        if examples and len(longest := max(examples, key=len)) > block_size:
            raise ValueError(
                f"an example takes {len(longest)} bytes and block_size is {block_size}: leave it out, or use a model "
                f"with a longer block ({longest.prompt[:40]!r}...)"
            )
        encode = ByteTokenizer().encode
        rows = [encode(example.prompt + example.answer + END) for example in examples]
        prompts = [len(encode(example.prompt)) for example in examples]
        super().__init__(rows, [np.arange(len(row)) >= n for row, n in zip(rows, prompts, strict=True)])


def disjoint(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[list[Thing], list[Thing], list[Thing]]:
    """The things in random order, none in two splits: three fifths for train, one for valid, one for test."""
    shuffled, fifth = [things[i] for i in rng.permutation(len(things))], len(things) // 5
    return shuffled[2 * fifth :], shuffled[:fifth], shuffled[fifth : 2 * fifth]


def pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    """One of the words, all equally likely."""
    return words[int(rng.integers(len(words)))]
