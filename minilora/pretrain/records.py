"""Made-up records, lists, dialogues and short code, each told twice: text that teaches copying from the context.

Names and values are random, so only the first telling predicts the second. Large language models can copy; a small one
does not learn to from documentation, and adaptation does not add it. The records belong to the general-domain corpus
and are not any task's training data. Apart from common nouns such as "colour" they share nothing with a task: no
restaurants, no `slot[value]`, no SQL, no premise and hypothesis, no summary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Document(NamedTuple):
    """A text and the made-up values in it: each occurs once to be read, and again to be copied."""

    text: str
    values: tuple[str, ...]


KINDS = ("ship", "engine", "comet", "kite", "clock", "well", "lantern", "bridge", "mill", "kettle", "robot", "moth")
# field -> how a sentence states it
FIELDS = {
    "captain": "is led by {}",
    "cargo": "carries {}",
    "harbour": "comes from {}",
    "builder": "was built by {}",
    "colour": "is painted {}",
    "mass": "weighs {}",
    "keeper": "belongs to {}",
    "year": "dates from {}",
    "twin": "looks just like {}",
    "sound": "sounds like {}",
    "fuel": "runs on {}",
    "guard": "is watched by {}",
    "rival": "is often taken for {}",
    "metal": "is made of {}",
    "shape": "has the form of {}",
    "valley": "stands in {}",
    "crew": "needs {} to work it",
    "label": "is marked {}",
    "sibling": "came with {}",
    "speed": "moves at {}",
    "song": "plays {} at noon",
    "door": "opens with {}",
}
SEPARATORS = ("\n", "\n", "\n\n", " => ", " | ", "\nIn words: ", "\nAgain: ", "\n-- ", ". That is: ")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


class Generator:
    """Writes random documents.  `words` are real words to mix in, so that some values are known words."""

    def __init__(self, seed: int, words: list[str]) -> None:
        self.rng = np.random.default_rng(seed)
        self.words = words
        self.writers = [self.restated] * 3 + [self.echoed] * 2
        self.writers += [self.asked, self.listed, self.tabled, self.spoken, self.coded]

    def document(self) -> Document:
        """One document, mostly shorter than 320 bytes."""
        return self.pick(self.writers)()

    # ------------------------------------------------------------------------------------------ words

    def pick(self, choices):
        return choices[self.below(0, len(choices))]

    def some(self, choices, n: int) -> list:
        """n of the choices, all different, in random order."""
        return [choices[i] for i in self.rng.permutation(len(choices))[:n]]

    def below(self, low: int, high: int) -> int:
        """A random integer from low to high - 1."""
        return low + int(self.rng.random() * (high - low))  # ten times as fast as `integers`

    def word(self) -> str:
        """A word made of random syllables or, less often, of random letters; or a real word."""
        kind = self.rng.random()
        if kind < 0.45:
            syllables = self.pick("bcdfghjklmnprstvwz") + self.pick("aeiou") + self.pick(("", "", *"lmnrst"))
            for _ in range(self.below(0, 3)):
                syllables += self.pick("bcdfghjklmnprstvwz") + self.pick("aeiou") + self.pick(("", "", *"lmnrst"))
            return syllables
        if kind < 0.6:
            return "".join(self.pick("abcdefghijklmnopqrstuvwxyz") for _ in range(self.below(3, 9)))
        return self.pick(self.words)

    def name(self) -> str:
        """One to three words, each with a capital."""
        return " ".join(self.word().capitalize() for _ in range(self.pick((1, 1, 2, 2, 3))))

    def value(self) -> str:
        """A name, one to three words, a number or a code."""
        kind = self.rng.random()
        if kind < 0.35:
            return self.name()
        if kind < 0.75:
            return " ".join(self.word() for _ in range(self.pick((1, 1, 2, 2, 3))))
        if kind < 0.9:
            return str(self.below(0, 10 ** self.below(1, 6)))
        return self.pick("ABCDEFGHKLMNPRST") + self.pick(("", "-", "/")) + str(self.below(10, 10000))

    def record(self, n: int) -> dict[str, str]:
        """n fields with values; a few fields have made-up names."""
        keys = [self.word() if self.rng.random() < 0.2 else key for key in self.some(list(FIELDS), n)]
        return {key: self.value() for key in keys}

    # ---------------------------------------------------------------------------- one record, many forms

    def shuffled(self, record: dict[str, str], least: int = 1) -> dict[str, str]:
        """The fields, or some of them (at least `least`), in another order."""
        keys = self.some(list(record), self.below(max(1, least), len(record) + 1))
        return {key: record[key] for key in keys}

    def as_data(self, subject: str, record: dict[str, str]) -> str:
        """The record in one of many notations."""
        pairs = {self.pick(("id", "title", "this")): subject, **record}.items()
        left, middle, right, between = self.pick(
            (
                ("", ": ", "", "\n"),
                ("", ": ", "", ", "),
                ("", " = ", "", "; "),
                ("", "=", "", " "),
                ("(", " ", ")", " "),
                ("<", "> ", "", " "),
                ("", " -> ", "", ", "),
                ("| ", " | ", " |", "\n"),
                ("- ", " - ", "", "\n"),
                ('"', '": "', '"', ", "),
                ("{", ": ", "}", ""),
            )
        )
        return between.join(left + key + middle + value + right for key, value in pairs)

    def as_text(self, subject: str, kind: str, record: dict[str, str]) -> str:
        """The record in sentences."""
        plain = [f"{self.pick(('its', 'the'))} {key} is {value}" for key, value in record.items()]
        told = [FIELDS[k].format(v) if k in FIELDS else f"has the {k} {v}" for k, v in record.items()]
        if self.rng.random() < 0.25:
            start = self.pick((f"Of {subject} we know: ", f"About the {kind} {subject}: ", f"{subject}: "))
            return start + "; ".join(plain) + "."
        if self.rng.random() < 0.2:
            return " ".join(f"The {key} of {subject} is {value}." for key, value in record.items())
        opening = self.pick(
            (
                f"{subject} is a {kind} that",
                f"The {kind} {subject}",
                f"{subject}",
                f"Here is a {kind}, {subject}. It",
                f"A {kind} by the name of {subject}",
                f"They call the {kind} {subject}. It",
            )
        )
        first = self.below(1, len(told) + 1)
        text = f"{opening} {join(told[:first])}."
        return text + "".join(f" {self.pick(('It', 'It also', f'This {kind}', subject))} {t}." for t in told[first:])

    def form(self, subject: str, kind: str, record: dict[str, str], text_share: float) -> str:
        if self.rng.random() < text_share:
            return self.as_text(subject, kind, record)
        return self.as_data(subject, record)

    # ----------------------------------------------------------------------------------------- documents

    def restated(self) -> Document:
        """A record in one form, then in another."""
        subject, kind, record = self.name(), self.pick(KINDS), self.record(self.below(1, 5))
        first = self.form(subject, kind, record, 0.25)
        second = self.form(subject, kind, self.shuffled(record, len(record) - 1), 0.75)
        return Document(first + self.pick(SEPARATORS) + second, (subject, *record.values()))

    def asked(self) -> Document:
        """A record, then questions and answers."""
        subject, kind, record = self.name(), self.pick(KINDS), self.record(self.below(2, 5))
        question, answer = self.pick((("Q: ", "A: "), ("", ""), ("? ", "> "), ("- ", "- ")))
        lines = [self.form(subject, kind, record, 0.5)]
        for key, value in self.shuffled(record).items():
            lines += [f"{question}What is the {key} of {subject}?", f"{answer}{value}"]
        return Document("\n".join(lines), (subject, *record.values()))

    def listed(self) -> Document:
        """A list, then the same list again, backwards, or its items one by one."""
        n = self.below(3, 7)
        items = [self.value() for _ in range(n)]
        comma = self.pick((", ", "; ", "\n", " - ", " / ", " "))
        lines = [comma.join(items)]
        for _ in range(self.below(1, 4)):
            i = self.below(0, n)
            lines.append(
                self.pick(
                    (
                        "Again: " + comma.join(items),
                        "Backwards: " + comma.join(items[::-1]),
                        f"The {ORDINALS[i]} is {items[i]}.",
                        f"After {items[i - 1]} comes {items[i]}." if i else f"It starts with {items[0]}.",
                        f"The last is {items[-1]}.",
                    )
                )
            )
        return Document("\n".join(lines), tuple(items))

    def echoed(self) -> Document:
        """A made-up phrase, repeated."""
        phrase = " ".join(self.value() for _ in range(self.below(1, 5)))
        gap = self.pick((" ", "\n", ", ", " = ", ". ", " and again "))
        return Document(gap.join([phrase] * self.below(2, 5)), (phrase,))

    def tabled(self) -> Document:
        """A table of a few rows, then some of its cells in sentences."""
        keys = self.some(list(FIELDS), self.below(1, 3))
        rows = {self.word(): [self.word() for _ in keys] for _ in range(self.below(2, 5))}
        bar = self.pick((" | ", ",", "\t", "  "))
        lines = [bar.join(("row", *keys)), *(bar.join((row, *cells)) for row, cells in rows.items())]
        for row in self.some(list(rows), self.below(1, len(rows) + 1)):
            j = self.below(0, len(keys))
            lines.append(f"{row} {FIELDS[keys[j]].format(rows[row][j])}.")
        return Document("\n".join(lines), (*rows, *(cell for cells in rows.values() for cell in cells)))

    def spoken(self) -> Document:
        """Two people speak; then it says who said what, word for word."""
        names = [self.name().split()[0] for _ in range(2)]
        lines = [" ".join(self.word() for _ in range(self.below(2, 6))) for _ in range(2)]
        text = "\n".join(f"{name}: {line}" for name, line in zip(names, lines, strict=True))
        i = self.below(0, 2)
        text += "\n" + self.pick(
            (
                f'{names[0]} said "{lines[0]}" and {names[1]} said "{lines[1]}".',
                f'Who said "{lines[i]}"? {names[i]} did, to {names[1 - i]}.',
                f"The words of {names[i]} were: {lines[i]}.",
            )
        )
        return Document(text, (*names, *lines))

    def coded(self) -> Document:
        """A few lines of code that store values, and their values read back."""
        names = [self.word() for _ in range(self.below(1, 4))]
        values = dict(zip(names, [self.value() for _ in names], strict=True))
        if self.rng.random() < 0.5:
            box = self.word()
            lines = [f"{box} = {values!r}", *(f">>> {box}[{k!r}]\n{v!r}" for k, v in self.shuffled(values).items())]
        else:
            lines = [f"{k} = {v!r}" for k, v in values.items()]
            lines += [f">>> print({k})\n{v}" for k, v in self.shuffled(values).items()]
        return Document("\n".join(lines), (*values, *values.values()))


def join(parts: list[str]) -> str:
    """a, b and c"""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def documents(draw: Callable[[], Document], size: int) -> list[Document]:
    """Documents from `draw`, a method of a Generator, until they add up to about `size` bytes."""
    found = []
    while size > 0:
        found.append(draw())
        size -= len(found[-1].text) + 2
    return found


def copied(document: Document) -> np.ndarray:
    """1 for each character that belongs to a repeated value, 0 for the rest.  (length,), float32."""
    mask = np.zeros(len(document.text), np.float32)
    for value in document.values:
        _, *again = re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", document.text)
        for match in again:
            mask[match.start() : match.end()] = 1
    return mask
