"""Dialogue to summary: two people settle something in a few lines, and one line says what.

What counts is spread over the lines and mixed with what does not count: a day that was turned down, small talk. Names,
things and times have to be copied. No two people talk in two splits. Scored by the F1 of ROUGE-1, ROUGE-2 and
ROUGE-L, on `ngrams.tokenize`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from minilora.tasks.baselines import copy_prompt, of_another
from minilora.tasks.ngrams import tokenize
from minilora.tasks.rouge import rouge_l, rouge_n
from minilora.tasks.task import PROMPT_END, Example, Scores, Task, pick

HE = ("Adam", "Ben", "David", "Felix", "Hugo", "Jack", "Leo", "Oscar", "Paul", "Sam")
SHE = ("Anna", "Clara", "Emma", "Grace", "Ida", "Kate", "Maria", "Nina", "Rosa", "Tina")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TIMES = ("9", "10", "noon", "2", "4", "6", "7", "8")
TREATS = ("lunch", "dinner", "coffee", "tennis", "a walk", "a film", "chess")
THINGS = ("tent", "ladder", "camera", "bike", "drill", "guitar", "map", "suitcase")
EVENTS = ("party", "meeting", "concert", "lesson", "match", "wedding")
REASONS = ("is ill", "has to work", "missed the train", "has an exam", "is abroad")
SMALL_TALK = ("How are you?", "Nice weather today.", "Long time no see!", "Sorry, I was busy.", "Hope all is well.")

Dialogue = tuple[list[str], str]  # what is said, the one who opens first, in turn; and the summary


def load(seed: int, train: int, valid: int, test: int) -> Task:
    """`train`, `valid` and `test` dialogues."""
    rng = np.random.default_rng(seed)
    pairs = list(permutations(HE + SHE, 2))
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    cut = len(pairs) // 5
    pools = (pairs[2 * cut :], pairs[:cut], pairs[cut : 2 * cut])
    splits = [_split(rng, pool, count) for pool, count in zip(pools, (train, valid, test), strict=True)]
    return Task(
        "summ",
        train=splits[0],
        valid=splits[1],
        test=splits[2],
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


def _split(rng: np.random.Generator, speakers: list[tuple[str, str]], count: int) -> list[Example]:
    found: dict[str, Example] = {}
    while len(found) < count:
        a, b = speakers[rng.integers(len(speakers))]
        lines, summary = TOPICS[rng.integers(len(TOPICS))](rng, a, b)
        if rng.random() < 0.4:
            lines = [f"{pick(rng, SMALL_TALK)} {lines[0]}", *lines[1:]]
        prompt = "".join(f"{(a, b)[i % 2]}: {line}\n" for i, line in enumerate(lines)) + PROMPT_END
        found[prompt] = Example(prompt, summary, (summary,), {"speakers": (a, b)})
    return list(found.values())


def _meeting(rng: np.random.Generator, a: str, b: str) -> Dialogue:
    """One proposes a day; the other agrees, or proposes another."""
    treat, time = pick(rng, TREATS), pick(rng, TIMES)
    day, other = (DAYS[i] for i in rng.choice(len(DAYS), size=2, replace=False))
    if rng.random() < 0.5:
        lines = [f"{_capital(treat)} on {day}?", f"Yes, at {time}?", pick(rng, ("Great.", "See you then!", "Fine."))]
    else:
        refusal = pick(rng, (f"Not {other}.", f"I can't on {other}.", "No time then."))
        lines = [f"{_capital(treat)} on {other}?", f"{refusal} {day}?", f"OK, {day} at {time}.", "Perfect."]
    return lines, f"{a} and {b} will meet for {treat} on {day} at {time}."


def _loan(rng: np.random.Generator, a: str, b: str) -> Dialogue:
    """One asks for a thing; the other brings it, or wants to be rid of an old one."""
    thing, day = pick(rng, THINGS), pick(rng, DAYS)
    asks = pick(rng, (f"Can I borrow your {thing}?", f"Do you still have that {thing}?", f"I need a {thing}."))
    if rng.random() < 0.5:
        lines = [asks, pick(rng, (f"Sure, I'll bring it on {day}.", f"Yes. Is {day} fine?")), "Thank you!"]
        return lines, f"{b} will lend {a} a {thing} on {day}."
    return [asks, "Sorry, mine is broken.", f"I'll buy one on {day}."], f"{a} will buy a {thing} on {day}."


def _absence(rng: np.random.Generator, a: str, b: str) -> Dialogue:
    """One of them cannot come."""
    event, reason, day = pick(rng, EVENTS), pick(rng, REASONS), pick(rng, DAYS)
    first_person = {"is": "I'm", "has": "I have", "missed": "I missed"}[reason.split()[0]]
    excuse = f"{first_person} {reason.split(maxsplit=1)[1]}."
    if rng.random() < 0.5:
        lines = [f"Are you coming to the {event} on {day}?", f"No, {excuse}", "What a pity."]
        return lines, f"{b} will miss the {event} on {day} because {_pronoun(b)} {reason}."
    lines = [f"I can't come to the {event}. {excuse}", f"The one on {day}?", "Yes. Sorry!"]
    return lines, f"{a} will miss the {event} on {day} because {_pronoun(a)} {reason}."


TOPICS: tuple[Callable[[np.random.Generator, str, str], Dialogue], ...] = (_meeting, _loan, _absence)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _pronoun(name: str) -> str:
    return "he" if name in HE else "she"
