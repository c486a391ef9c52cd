"""Dialogue to summary: two people settle something in a few lines, and one line says what.

What matters is spread over the lines, among things that do not: rejected days and times, small talk. No person, thing
or event is in two splits, so a model must copy them. Scored by the F1 of ROUGE-1, ROUGE-2 and ROUGE-L, on
`metrics.tokenize`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minilora.tasks.baselines import copy_prompt, of_another
from minilora.tasks.metrics import rouge_l, rouge_n, tokenize
from minilora.tasks.task import PROMPT_END, SPLITS, Example, Scores, Task, disjoint, pick

NAMES = """Adam Amir Anna Bella Ben Carl Clara David Dora Emma Eric Felix Fiona Gina Grace Henry Hugo Ida Irene Jack
Jonas Kate Leo Maria Nina Oscar Paul Rosa Sam Tina"""
TREATS = "lunch dinner coffee tennis chess breakfast cards bowling supper tea golf yoga karaoke skating sailing"
THINGS = "tent ladder camera bike drill guitar map suitcase kayak lamp hammer violin projector sofa helmet"
EVENTS = "party meeting concert lesson match wedding picnic exam play workshop dance lecture reunion race parade"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TIMES = ("9", "10", "noon", "2", "4", "6", "7", "8")
REASONS = ("is ill", "has to work", "missed the train", "has no time", "is abroad")
FIRST_PERSON = {"is": "I'm", "has": "I have", "missed": "I missed"}
SMALL_TALK = ("How are you?", "Nice weather today.", "Long time no see!", "Sorry, I was busy.", "Hope all is well.")


class Words(NamedTuple):
    """The words of one split."""

    names: list[str]
    treats: list[str]
    things: list[str]
    events: list[str]


Dialogue = tuple[list[str], str]  # the lines, spoken in turn, and the summary


def load(seed: int, train: int, valid: int, test: int) -> Task:
    """`train`, `valid` and `test` dialogues."""
    rng = np.random.default_rng(seed)
    pools = zip(*(disjoint(rng, words.split()) for words in (NAMES, TREATS, THINGS, EVENTS)), strict=True)
    splits = [_split(rng, Words(*words), count) for words, count in zip(pools, (train, valid, test), strict=True)]
    return Task(
        "summ",
        **dict(zip(SPLITS, splits, strict=True)),
        metrics=("rouge_1", "rouge_2", "rouge_l"),
        scorer=score,
        guesses={"chance": of_another, "copy": copy_prompt, "last line": last_line},
    )


def score(examples: Sequence[Example], answers: Sequence[str]) -> Scores:
    """The mean F1 over the examples, in [0, 1]."""
    pairs = [(tokenize(text), tokenize(ex.references[0])) for ex, text in zip(examples, answers, strict=True)]
    return {
        "rouge_1": sum(rouge_n(ours, theirs, 1) for ours, theirs in pairs) / len(pairs),
        "rouge_2": sum(rouge_n(ours, theirs, 2) for ours, theirs in pairs) / len(pairs),
        "rouge_l": sum(rouge_l(ours, [theirs]) for ours, theirs in pairs) / len(pairs),
    }


def last_line(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """What was said last."""
    return [example.prompt.splitlines()[-2] for example in test]


def _split(rng: np.random.Generator, words: Words, count: int) -> list[Example]:
    found: dict[str, Example] = {}
    while len(found) < count:
        a, b = (words.names[i] for i in rng.choice(len(words.names), size=2, replace=False))
        lines, summary = TOPICS[rng.integers(len(TOPICS))](rng, words, a, b)
        if rng.random() < 0.4:
            lines = [f"{pick(rng, SMALL_TALK)} {lines[0]}", *lines[1:]]
        prompt = "".join(f"{(a, b)[i % 2]}: {line}\n" for i, line in enumerate(lines)) + PROMPT_END
        found[prompt] = Example(prompt, summary, (summary,), {"speakers": (a, b)})
    return list(found.values())


def _meeting(rng: np.random.Generator, words: Words, a: str, b: str) -> Dialogue:
    """One proposes a day and a time; up to two days and one time are rejected."""
    treat, refused = pick(rng, words.treats), int(rng.integers(3))
    days = [DAYS[i] for i in rng.choice(len(DAYS), size=refused + 1, replace=False)]
    time, other = (TIMES[i] for i in rng.choice(len(TIMES), size=2, replace=False))
    lines = [f"{treat.capitalize()} on {days[0]}?"]
    lines += [f"{pick(rng, ('Not', 'I work on', 'I am away on'))} {old}. {new}?" for old, new in pairwise(days)]
    if rng.random() < 0.5:
        lines.append(f"Yes, at {time}?")
    else:
        lines += [f"OK, at {other}?", f"{pick(rng, ('Better', 'Rather', 'Make it'))} {time}."]
    lines.append(pick(rng, ("Great.", "See you then!", "Fine.")))
    return lines, f"{a} and {b} meet for {treat} on {days[-1]} at {time}."


def _loan(rng: np.random.Generator, words: Words, a: str, b: str) -> Dialogue:
    """One asks for a thing; the other will bring it, on this day or another, or cannot lend it."""
    thing = pick(rng, words.things)
    day, other = (DAYS[i] for i in rng.choice(len(DAYS), size=2, replace=False))
    lines = [pick(rng, (f"Can I borrow your {thing}?", f"Do you still have that {thing}?", f"I need a {thing}."))]
    outcome = rng.integers(3)
    if outcome == 0:
        return [*lines, "Sorry, mine is broken.", f"I'll buy one on {day}."], f"{a} will buy a {thing} on {day}."
    if outcome == 1:
        lines += [f"Sure, I'll bring it on {day}.", "Thank you!"]
    else:
        lines += [f"Yes. Is {other} fine?", f"{day} is better.", "OK."]
    return lines, f"{b} will lend {a} a {thing} on {day}."


def _absence(rng: np.random.Generator, words: Words, a: str, b: str) -> Dialogue:
    """One of them cannot come."""
    event, reason, day = pick(rng, words.events), pick(rng, REASONS), pick(rng, DAYS)
    verb, rest = reason.split(maxsplit=1)
    excuse = f"{FIRST_PERSON[verb]} {rest}."
    if rng.random() < 0.5:
        lines = [f"Are you coming to the {event} on {day}?", f"No, {excuse}", "What a pity."]
        return lines, f"{b} {reason} and misses the {event} on {day}."
    lines = [f"I can't come to the {event}. {excuse}", f"The one on {day}?", "Yes. Sorry!"]
    return lines, f"{a} {reason} and misses the {event} on {day}."


TOPICS: tuple[Callable[[np.random.Generator, Words, str, str], Dialogue], ...] = (_meeting, _loan, _absence)
