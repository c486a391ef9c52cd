"""CIDEr (Vedantam et al. 2015): agreement with many references, rare n-grams counting most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from minilora.tasks.ngrams import Words, ngrams

Vector = dict[tuple[str, ...], float]
SIGMA = 6.0  # words; the penalty's width


def cider(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 4) -> float:
    """CIDEr-D in [0, 10], the variant that COCO's captions and the E2E challenge are scored by (without stemming).

    Answer and reference become vectors of their n-grams' counts, each weighted by log(N / the number of the N test
    cases whose references have it). Their similarity is a cosine in which the answer's weights are clipped to the
    reference's, times exp(-(difference in length)^2 / (2 SIGMA^2)). It is averaged over references, n = 1 to `max_n`
    and test cases, and multiplied by 10. With a single test case every weight is log 1 = 0, and so is the score.
    """
    score = 0.0
    for n in range(1, max_n + 1):
        cases = Counter(gram for refs in references for gram in {gram for ref in refs for gram in ngrams(ref, n)})
        for candidate, refs in zip(candidates, references, strict=True):
            ours = _weighted(candidate, n, cases, len(references))
            for ref in refs:
                similarity = _clipped_cosine(ours, _weighted(ref, n, cases, len(references)))
                score += similarity * math.exp(-((len(candidate) - len(ref)) ** 2) / (2 * SIGMA**2)) / len(refs)
    return 10 * score / (max_n * len(candidates))


def _weighted(words: Words, n: int, cases: Mapping[tuple[str, ...], int], N: int) -> Vector:
    """tf-idf; an n-gram that no reference has weighs as one that a single case has."""
    return {gram: count * math.log(N / max(1, cases[gram])) for gram, count in ngrams(words, n).items()}


def _clipped_cosine(ours: Vector, theirs: Vector) -> float:
    norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    dot = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
    return dot / norms if norms else 0.0
