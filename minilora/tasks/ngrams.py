"""Words and their n-grams, which BLEU, NIST, ROUGE and CIDEr all count."""

from __future__ import annotations

import re
from collections import Counter

Words = list[str]


def tokenize(text: str) -> Words:
    """Text -> lower-case words, cut as mteval-v13a does, which the E2E challenge scores with.

    Punctuation other than the apostrophe and the hyphen stands alone; a period or a comma only where no digit is on
    its other side, so that "£20.50" keeps its point; a hyphen only after a digit. (Of mteval's rules, those for SGML
    and for words broken across lines are left out.)
    """
    text = f" {text.lower()} "
    text = re.sub(r"([{-~\[-` -&(-+:-@/])", r" \1 ", text)
    text = re.sub(r"([^0-9])([.,])", r"\1 \2 ", text)
    text = re.sub(r"([.,])([^0-9])", r" \1 \2", text)
    text = re.sub(r"([0-9])(-)", r"\1 \2 ", text)
    return text.split()


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """n-gram -> how often it occurs."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def most_in_any(references: list[Words], n: int) -> Counter[tuple[str, ...]]:
    """n-gram -> how often it occurs in the reference that has it most often: what a candidate's count is clipped to."""
    most: Counter[tuple[str, ...]] = Counter()
    for words in references:
        most |= ngrams(words, n)
    return most
