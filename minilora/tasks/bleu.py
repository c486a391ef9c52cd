"""BLEU and NIST: n-grams of the answers that the references have too, over a whole test set.

`candidates` are the answers and `references[i]` all that answer i is compared with; both as lists of words
(see `ngrams.tokenize`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from minilora.tasks.ngrams import Words, most_in_any, ngrams


def bleu(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 4) -> float:
    """Corpus BLEU in [0, 1] (Papineni et al. 2002): the geometric mean of the clipped n-gram precisions, n = 1 to
    `max_n`, times the brevity penalty exp(1 - r/c) where the c words of the answers are fewer than the r of the
    references closest to them in length (of two as close, the shorter).

    No smoothing: without a single common n-gram of some length the score is 0.
    """
    log_precision = 0.0
    for n in range(1, max_n + 1):
        matches = total = 0
        for candidate, refs in zip(candidates, references, strict=True):
            counts = ngrams(candidate, n)
            matches += (counts & most_in_any(refs, n)).total()
            total += counts.total()
        if not matches:
            return 0.0
        log_precision += math.log(matches / total) / max_n
    c = sum(map(len, candidates))
    r = sum(_closest(len(words), map(len, refs)) for words, refs in zip(candidates, references, strict=True))
    return math.exp(min(0.0, 1 - r / c) + log_precision)


def _closest(length: int, lengths: Iterable[int]) -> int:
    return min((abs(other - length), other) for other in lengths)[1]


def nist(candidates: Sequence[Words], references: Sequence[list[Words]], max_n: int = 5) -> float:
    """NIST (Doddington 2002), at least 0: an n-gram that is matched counts by what it tells, in bits.

        info(w_1..w_n) = log2(count(w_1..w_n-1) / count(w_1..w_n))     counted over all references
        NIST = sum over n of (sum of info over matched n-grams) / (number of n-grams in the answers)

    times exp(-beta log(min(1, c / r))^2), r being the references' mean length and beta such that c / r = 2/3 halves
    the score. Matches are clipped as BLEU's, over all references together.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for refs in references:
        for ref in refs:
            counts[()] += len(ref)
            for n in range(1, max_n + 1):
                counts.update(ngrams(ref, n))
    score = 0.0
    for n in range(1, max_n + 1):
        told, total = 0.0, 0
        for candidate, refs in zip(candidates, references, strict=True):
            found = ngrams(candidate, n)
            total += found.total()
            for gram, matches in (found & most_in_any(refs, n)).items():
                told += matches * math.log2(counts[gram[:-1]] / counts[gram])
        score += told / total if total else 0.0
    c = sum(map(len, candidates))
    r = sum(sum(map(len, refs)) / len(refs) for refs in references)
    if not c:
        return 0.0
    beta = math.log(2) / math.log(1.5) ** 2
    return score * math.exp(-beta * math.log(min(1.0, c / r)) ** 2)
