"""Entailment: does the second sentence follow from the first (yes), contradict it (no), or neither (maybe)?

    A small dog is sleeping in the garden at noon.     premise
    An animal is sleeping in the garden.               hypothesis -> yes

The hypothesis and the label are drawn independently; then a premise is written that makes the label true. So the
hypothesis by itself says nothing about the label, unlike in corpora written by people (Gururangan et al. 2018). Each
split has equally many of each label, and no pair of sentences is in two splits.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np

from minilora.tasks.baselines import majority
from minilora.tasks.task import PROMPT_END, SPLITS, Example, Scores, Task, pick

LABELS = {"entailment": "yes", "neutral": "maybe", "contradiction": "no"}
KINDS = {"animal": ("dog", "cat", "horse"), "adult": ("man", "woman", "farmer"), "child": ("boy", "girl", "pupil")}
ASPECTS = {  # mutually exclusive: nobody does two of these at once, or is in two places
    "doing": ("sleeping", "running", "eating", "waiting"),
    "place": ("garden", "kitchen", "street", "forest"),
}
DETAILS = ("small", "old", "tired", "happy")
TIMES = ("at noon", "at night", "today")


def load(seed: int, train: int, valid: int, test: int) -> Task:
    """`train`, `valid` and `test` pairs of sentences."""
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    splits = [_split(rng, count, seen) for count in (train, valid, test)]
    return Task(
        "nli",
        **dict(zip(SPLITS, splits, strict=True)),
        metrics=("accuracy",),
        scorer=score,
        guesses={
            "majority": majority,
            "copy": word_overlap,
            "hypothesis only": partial(naive_bayes, part="hypothesis"),  # how much the hypothesis gives away
            "premise only": partial(naive_bayes, part="premise"),
        },
    )


def score(examples: Sequence[Example], answers: Sequence[str]) -> Scores:
    """The share of answers that are the right word."""
    right = sum(text.strip() == example.answer for example, text in zip(examples, answers, strict=True))
    return {"accuracy": right / len(examples)}


def _split(rng: np.random.Generator, count: int, seen: set[str]) -> list[Example]:
    """`count` pairs not yet `seen`, equally many per label, shuffled."""
    examples: list[Example] = []
    while len(examples) < count:
        label = list(LABELS)[len(examples) % len(LABELS)]
        premise, hypothesis = _pair(rng, label)
        prompt = f"{premise}\n{hypothesis}\n{PROMPT_END}"
        if prompt not in seen:
            seen.add(prompt)
            meta = {"premise": premise, "hypothesis": hypothesis, "label": label}
            examples.append(Example(prompt, LABELS[label], (LABELS[label],), meta))
    return [examples[i] for i in rng.permutation(count)]


def _pair(rng: np.random.Generator, label: str) -> tuple[str, str]:
    """A premise and a hypothesis with this label; the hypothesis does not depend on it."""
    kind = pick(rng, tuple(KINDS))
    said = {"subject": kind if rng.random() < 0.4 else pick(rng, KINDS[kind])}
    for aspect in [("doing", "place"), ("doing",), ("place",)][rng.integers(3)]:
        said[aspect] = pick(rng, ASPECTS[aspect])
    return _sentence(_premise(rng, said, kind, label)), _sentence(said)


def _premise(rng: np.random.Generator, said: dict[str, str], kind: str, label: str) -> dict[str, str]:
    """What entails the hypothesis; for the other labels, one thing is changed or left open."""
    premise = dict(said)
    if said["subject"] == kind and rng.random() < 0.7:
        premise["subject"] = pick(rng, KINDS[kind])
    stated = [aspect for aspect in ASPECTS if aspect in said]
    for aspect in ASPECTS:
        if aspect not in said and rng.random() < 0.5:
            premise[aspect] = pick(rng, ASPECTS[aspect])
    if label == "contradiction":
        aspect = pick(rng, stated)
        premise[aspect] = pick(rng, [word for word in ASPECTS[aspect] if word != said[aspect]])
    if label == "neutral":
        _take_back(rng, premise, said, kind)
    if rng.random() < 0.4:
        premise["detail"] = pick(rng, DETAILS)
    if rng.random() < 0.4:
        premise["time"] = pick(rng, TIMES)
    return premise


def _take_back(rng: np.random.Generator, premise: dict[str, str], said: dict[str, str], kind: str) -> None:
    """Leave one thing in the hypothesis open: who it is, or an aspect. The premise still states an aspect."""
    way = pick(rng, [part for part in said if part in ASPECTS or said[part] != kind])
    if way == "subject":
        premise["subject"] = kind
        return
    del premise[way]
    for aspect in ASPECTS:
        if aspect != way and aspect not in premise:
            premise[aspect] = pick(rng, ASPECTS[aspect])


def _sentence(said: dict[str, str]) -> str:
    noun = " ".join(said[part] for part in ("detail", "subject") if part in said)
    predicate = [said[part] for part in ("doing",) if part in said]
    predicate += [f"in the {said['place']}"] if "place" in said else []
    predicate += [said["time"]] if "time" in said else []
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun} is {' '.join(predicate)}."


# ------------------------------------------------------------------------------------------- baselines


def word_overlap(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """yes if the premise contains every word of the hypothesis, else no."""
    pairs = [(set(_words(e.meta["hypothesis"])), set(_words(e.meta["premise"]))) for e in test]
    return ["yes" if hypothesis <= premise else "no" for hypothesis, premise in pairs]


def naive_bayes(train: Sequence[Example], test: Sequence[Example], part: str) -> list[str]:
    """A classifier that sees only this part, "premise" or "hypothesis": the answer y with the largest log p(y) + sum of
    log p(w occurs | y) over its words w, with add-one smoothing."""
    answers = Counter(example.answer for example in train)
    with_word: dict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        with_word[example.answer].update(set(_words(example.meta[part])))

    def log_probability(answer: str, words: set[str]) -> float:
        n = answers[answer]
        return math.log(n) + sum(math.log((with_word[answer][word] + 1) / (n + 2)) for word in words)

    return [
        max(sorted(answers), key=lambda answer: log_probability(answer, words))
        for words in (set(_words(example.meta[part])) for example in test)
    ]


def _words(sentence: str) -> list[str]:
    return sentence.lower().strip(".").replace("an ", "a ").split()
