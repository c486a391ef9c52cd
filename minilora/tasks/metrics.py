"""Scores of generated text by counting n-grams of words: BLEU, NIST, ROUGE and CIDEr."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

Words = list[str]


def tokenize(text: str) -> Words:
    """Text -> lower-case words, split like mteval-v13a, the E2E challenge's scorer.

    Punctuation becomes words of its own, except apostrophes and hyphens; but a hyphen after a digit does too, and a
    period or comma between digits does not, so "£20.50" keeps its point. (mteval's rules for SGML and for words broken
    across lines are left out.)
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
    """n-gram -> its largest count in any one reference: the count of a candidate is clipped to it."""
    most: Counter[tuple[str, ...]] = Counter()
    for words in references:
        most |= ngrams(words, n)
    return most


def bleu(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 4) -> float:
    """Corpus BLEU in [0, 1] (Papineni et al. 2002): the geometric mean of the clipped n-gram precisions, n = 1 to
    `max_n`, times the brevity penalty exp(1 - r/c) if c < r. c counts the words of the answers, r those of the
    references closest to them in length (of two equally close ones, the shorter).

    No smoothing: if no n-gram of some length matches, the score is 0.
    """
    return bleu_of(_sums(bleu_counts(words, refs, max_n) for words, refs in zip(candidates, references, strict=True)))


def bleu_counts(candidate: Words, references: list[Words], max_n: int = 4) -> list[float]:
    """One case's part in a corpus's BLEU, to be summed over cases: n-gram matches for n = 1 to `max_n`, n-grams in the
    answer, c and r."""
    found = [ngrams(candidate, n) for n in range(1, max_n + 1)]
    matches = [(counts & most_in_any(references, n)).total() for n, counts in enumerate(found, start=1)]
    r = _closest(len(candidate), map(len, references))
    return [*matches, *(counts.total() for counts in found), len(candidate), r]


def bleu_of(counts: Sequence[float]) -> float:
    """BLEU of a corpus from the sums of its `bleu_counts`."""
    *grams, c, r = counts
    matches, totals = grams[: len(grams) // 2], grams[len(grams) // 2 :]
    if not all(matches):
        return 0.0
    log_precision = sum(math.log(m / t) for m, t in zip(matches, totals, strict=True)) / len(matches)
    return math.exp(min(0.0, 1 - r / c) + log_precision)


def _sums(rows: Iterable[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _closest(length: int, lengths: Iterable[int]) -> int:
    return min((abs(other - length), other) for other in lengths)[1]


def nist(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 5) -> float:
    """NIST (Doddington 2002), at least 0: a matched n-gram counts by its information, in bits.

        info(w_1..w_n) = log2(count(w_1..w_n-1) / count(w_1..w_n))     counted over all references
        NIST = sum over n of (sum of info over matched n-grams) / (number of n-grams in the answers)

    times exp(-beta log(min(1, c / r))^2), where r is the references' mean length and beta makes c / r = 2/3 halve the
    score. Matches are clipped as in BLEU.
    """
    return nist_of(_sums(nist_counts(candidates, references, max_n)))


def nist_counts(
    candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 5
) -> Iterator[list[float]]:
    """Each case's part in a corpus's NIST, to be summed over cases: the information of its matches for n = 1 to
    `max_n`, n-grams in the answer, c and r.  The information itself comes from all references together."""
    counts: Counter[tuple[str, ...]] = Counter()
    for refs in references:
        for ref in refs:
            counts[()] += len(ref)
            for n in range(1, max_n + 1):
                counts.update(ngrams(ref, n))
    for candidate, refs in zip(candidates, references, strict=True):
        found = [ngrams(candidate, n) for n in range(1, max_n + 1)]
        told = [
            sum(m * math.log2(counts[gram[:-1]] / counts[gram]) for gram, m in (grams & most_in_any(refs, n)).items())
            for n, grams in enumerate(found, start=1)
        ]
        yield [*told, *(grams.total() for grams in found), len(candidate), sum(map(len, refs)) / len(refs)]


def nist_of(counts: Sequence[float]) -> float:
    """NIST of a corpus from the sums of its `nist_counts`."""
    *grams, c, r = counts
    told, totals = grams[: len(grams) // 2], grams[len(grams) // 2 :]
    if not c:
        return 0.0
    beta = math.log(2) / math.log(1.5) ** 2
    score = sum(t / total for t, total in zip(told, totals, strict=True) if total)
    return score * math.exp(-beta * math.log(min(1.0, c / r)) ** 2)


def rouge_n(candidate: Words, reference: Words, n: int) -> float:
    """ROUGE-N's F1 in [0, 1]: the harmonic mean of the precision and the recall of n-grams."""
    ours, theirs = ngrams(candidate, n), ngrams(reference, n)
    matches = (ours & theirs).total()
    return 2 * matches / (ours.total() + theirs.total()) if matches else 0.0


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The largest number of words that occur in both in the same order, not necessarily side by side."""
    row = [0] * (len(b) + 1)  # row[j]: the length for a up to here and b[:j]
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def rouge_l(candidate: Words, references: Sequence[Words], beta: float = 1.0) -> float:
    """ROUGE-L in [0, 1]: F_beta = (1 + beta^2) P R / (R + beta^2 P) of the longest common subsequence.

    P and R are each the best over the references, as for COCO's captions and the E2E challenge, with beta = 1.2. With
    one reference and beta = 1 it is the F1 used for summaries.
    """
    common = [longest_common_subsequence(candidate, reference) for reference in references]
    if not max(common, default=0):
        return 0.0
    P = max(common) / len(candidate)
    R = max(length / len(ref) for length, ref in zip(common, references, strict=True) if ref)
    return (1 + beta**2) * P * R / (R + beta**2 * P)


Vector = dict[tuple[str, ...], float]  # n-gram -> weight
SIGMA = 6.0  # words: the width of CIDEr's length penalty


def cider(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 4) -> float:
    """CIDEr-D in [0, 10], the variant used for COCO's captions and in the E2E challenge (without stemming).

    Answer and reference become vectors of n-gram counts, each weighted by log(N / the number of the N test cases whose
    references contain the n-gram). Their similarity is a cosine in which the answer's weights are clipped to the
    reference's, times exp(-(difference in length)^2 / (2 SIGMA^2)). It is averaged over references, n = 1 to `max_n`,
    and test cases, and multiplied by 10. With a single test case every weight is log 1 = 0, and so is the score.
    """
    return sum(cider_each(candidates, references, max_n)) / len(candidates)


def cider_each(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 4) -> list[float]:
    """Each case's CIDEr-D; the weights come from all cases together."""
    scores = [0.0] * len(candidates)
    for n in range(1, max_n + 1):
        cases = Counter(gram for refs in references for gram in {gram for ref in refs for gram in ngrams(ref, n)})
        for i, (candidate, refs) in enumerate(zip(candidates, references, strict=True)):
            ours = _weighted(candidate, n, cases, len(references))
            for ref in refs:
                similarity = _clipped_cosine(ours, _weighted(ref, n, cases, len(references)))
                scores[i] += similarity * math.exp(-((len(candidate) - len(ref)) ** 2) / (2 * SIGMA**2)) / len(refs)
    return [10 * score / max_n for score in scores]


def _weighted(words: Words, n: int, cases: Mapping[tuple[str, ...], int], N: int) -> Vector:
    """tf-idf; an n-gram in no reference weighs as much as one in a single case."""
    return {gram: count * math.log(N / max(1, cases[gram])) for gram, count in ngrams(words, n).items()}


def _clipped_cosine(ours: Vector, theirs: Vector) -> float:
    norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    dot = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
    return dot / norms if norms else 0.0
