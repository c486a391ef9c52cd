"""ROUGE (Lin 2004): how much of a reference an answer recalls, by n-grams or by the longest common subsequence."""

from __future__ import annotations

from collections.abc import Sequence

from minilora.tasks.ngrams import Words, ngrams


def rouge_n(candidate: Words, reference: Words, n: int) -> float:
    """ROUGE-N's F1 in [0, 1]: the harmonic mean of the precision and the recall of n-grams."""
    ours, theirs = ngrams(candidate, n), ngrams(reference, n)
    matches = (ours & theirs).total()
    return 2 * matches / (ours.total() + theirs.total()) if matches else 0.0


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The most words that stand in both, in the same order, not necessarily side by side."""
    row = [0] * (len(b) + 1)  # row[j] = the length for a so far and b[:j]
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def rouge_l(candidate: Words, references: Sequence[Words], beta: float = 1.0) -> float:
    """ROUGE-L in [0, 1]: F_beta = (1 + beta^2) P R / (R + beta^2 P) of the longest common subsequence.

    P and R are each the best over the references, as COCO's captions and the E2E challenge do with beta = 1.2; with
    a single reference and beta = 1 it is the F1 that summaries are scored by.
    """
    common = [longest_common_subsequence(candidate, reference) for reference in references]
    if not max(common, default=0):
        return 0.0
    P = max(common) / len(candidate)
    R = max(length / len(ref) for length, ref in zip(common, references, strict=True) if ref)
    return (1 + beta**2) * P * R / (R + beta**2 * P)
