"""What is measured on the test meanings: the challenge's scores, why they and the loss disagree, and intervals.

A loss looks at each next token of what people wrote; a score at what the model writes by itself. So beside the loss
stand the share of tokens that the model would have written, how sure it was of them, what the loss would be at other
temperatures (lower than at 1: the model is too sure, or not sure enough), and the loss on copied names and elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

import minilora as ml
from minilora.experiments.real.data import Pair, Prompting, RealData, encode
from minilora.machine.blas import single_threaded_blas
from minilora.nn import Decoder
from minilora.tasks.e2e import parse, slot_errors, slot_values
from minilora.tasks.metrics import bleu_counts, bleu_of, cider_each, nist_counts, nist_of, rouge_l, tokenize
from minilora.text import RowData

MAX_NEW = 96  # tokens of an answer
SENTENCES = 5  # of each test meaning, whose loss is looked at; scores use them all
ROWS = 16  # in a batch that is only looked at
WORKERS = 2  # threads, on any machine: another number would round differently
TEMPERATURES = (0.8, 1.25)  # beside 1
BINS = 10  # of confidence
COPIED = ("name", "near")  # slots whose values a sentence copies letter by letter
RESAMPLES, COVERED = 1000, (2.5, 97.5)  # of the bootstrap: draws of as many meanings, and the percentiles kept


# ------------------------------------------------------------------------------------ on what people wrote


class TokenFacts(NamedTuple):
    """For each token of the sentences, (n,): the pair it is of, whether it copies a name, and what the model made of
    it: -log p, the same at other temperatures (n, len(TEMPERATURES)), its largest p, and whether that was right."""

    pair: np.ndarray
    copied: np.ndarray
    nll: np.ndarray
    tempered: np.ndarray
    confidence: np.ndarray
    right: np.ndarray


def token_facts(
    model: Decoder, encoded: Sequence[tuple[np.ndarray, np.ndarray]], copied: list[np.ndarray]
) -> TokenFacts:
    """encoded: tokens and weights of each pair; copied: for each, 1 where a counted token copies a name."""
    data = RowData([tokens for tokens, _ in encoded], [weights for _, weights in encoded])
    lengths = [len(tokens) for tokens, _ in encoded]

    def facts(chosen: list[int]) -> TokenFacts:
        batch = data.batch(chosen)
        positions = np.flatnonzero(np.asarray(batch.weights))
        logits, _ = model.forward(batch.tokens, keep=False, positions=positions)
        logits -= logits.max(axis=-1, keepdims=True)
        own = logits[np.arange(len(logits)), batch.targets.reshape(-1)[positions]]
        temperatures = np.array((1.0, *TEMPERATURES))
        nll = _log_normalizers(logits, temperatures) - own[:, None] / temperatures
        pair = np.array(chosen)[positions // batch.tokens.shape[1]]
        names = np.concatenate([copied[i] for i in chosen])
        return TokenFacts(pair, names, nll[:, 0], nll[:, 1:], np.exp(-nll[:, 0] - own), own == 0)

    parts = in_threads(facts, by_length(lengths, ROWS))
    return TokenFacts(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _log_normalizers(z: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """log(sum over the vocabulary of exp(z / T)) for each T, (n, temperatures), of z (n, V) whose largest is 0; in
    slices that fit a cache."""
    sums = np.empty((len(z), len(temperatures)))
    for start in range(0, len(z), ROWS):
        part = z[start : start + ROWS]
        for i, T in enumerate(temperatures):
            sums[start : start + ROWS, i] = np.exp(part * np.float32(1 / T)).sum(axis=-1)
    return np.log(sums)


def by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """The numbers of rows of these lengths, in groups of similar length."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return [order[i : i + size] for i in range(0, len(order), size)]


def in_threads(work: Callable[[list[int]], Any], groups: list[list[int]]) -> list[Any]:
    """The results of the groups, in order, worked on by WORKERS threads."""
    with single_threaded_blas(), ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, groups))


def on_pairs(
    model: Decoder, tokenizer: Any, pairs: Sequence[Pair], prompting: Prompting, train: Sequence[Pair]
) -> dict[str, Any]:
    """The loss, in nats per token of the sentences, and what is behind it; also for each meaning, [loss, tokens]."""
    shots, space = train[: prompting.shots], "" if prompting.chat else " "
    encoded = [encode(pair, tokenizer, prompting, shots) for pair in pairs]
    copied = [
        copies(pair.mr, space + pair.sentence, tokenizer, int(weights.sum()))
        for pair, (_, weights) in zip(pairs, encoded, strict=True)
    ]
    facts = token_facts(model, encoded, copied)
    meanings = list(dict.fromkeys(pair.mr for pair in pairs))
    meaning = np.array([meanings.index(pair.mr) for pair in pairs])[facts.pair]
    totals, tokens = np.bincount(meaning, facts.nll), np.bincount(meaning)
    bins = calibration(facts.confidence, facts.right)
    counts, confidence, right = np.array(bins).T
    return {
        "loss": float(facts.nll.mean()),
        "loss_at": {str(T): float(facts.tempered[:, i].mean()) for i, T in enumerate(TEMPERATURES)},
        "accuracy": float(facts.right.mean()),
        "confidence": float(facts.confidence.mean()),
        "calibration_error": float(counts @ abs(confidence - right) / counts.sum()),
        "bins": bins,
        "copied": [float(facts.nll[facts.copied].mean()), float(facts.copied.mean())],
        "elsewhere": float(facts.nll[~facts.copied].mean()),
        "each": [[round(float(total / n), 3), int(n)] for total, n in zip(totals, tokens, strict=True)],
    }


def calibration(confidence: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """For each of BINS equal parts of [0, 1]: tokens whose largest p lies there, its mean, and how many were right."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = (np.bincount(place, values, BINS) for values in (confidence, right))
    means = [(total / np.maximum(counts, 1)).round(4).tolist() for total in sums]
    return [list(row) for row in zip(counts.tolist(), *means, strict=True)]


def copies(mr: str, text: str, tokenizer: Any, counted: int) -> np.ndarray:
    """For each of a text's `counted` tokens, whether it is part of a name that stands in the meaning.  (n,)"""
    values = [value.lower() for slot, value in parse(mr).items() if slot in COPIED]
    spans = [(at, at + len(value)) for value in values if (at := text.lower().find(value)) >= 0]
    offsets = tokenizer.tokenizer.encode(text, add_special_tokens=False).offsets[:counted]
    found = [any(start < last and first < end for first, last in spans) for start, end in offsets]
    return np.array(found + [False] * (counted - len(found)))  # the end mark


# ------------------------------------------------------------------------------- on what the model writes


def on_test(model: Decoder, tokenizer: Any, data: RealData, prompting: Prompting) -> dict[str, Any]:
    """The challenge's scores of greedy answers with 95 % intervals over meanings; each meaning's numbers; and, without
    examples in the prompt, the loss."""
    pairs = [Pair(_mr(example), sentence) for example in data.test for sentence in example.references[:SENTENCES]]
    told = None if prompting.shots else on_pairs(model, tokenizer, pairs, prompting, data.train)
    answers = answer(model, tokenizer, [_mr(example) for example in data.test], prompting, data.train)
    return {"pairs": told, **scored(data, answers)}


def _mr(example: Any) -> str:
    return example.prompt.partition("\n")[0]


def answer(
    model: Decoder, tokenizer: Any, meanings: Sequence[str], prompting: Prompting, train: Sequence[Pair]
) -> list[str]:
    """The model's own sentence for each meaning: the likeliest token at each step, up to the end of the line."""
    shots = train[: prompting.shots]
    prompts = []
    for mr in meanings:
        tokens, weights = encode(Pair(mr, ""), tokenizer, prompting, shots)
        prompts.append(tokens[: np.flatnonzero(weights)[0]])

    def written(chosen: list[int]) -> list[str]:
        """The rows are answered together."""
        texts = ml.generate(
            model, [prompts[i] for i in chosen], MAX_NEW, temperature=0, stop=list(tokenizer.stop) or None
        )
        fresh = [tokens[len(prompts[i]) :] for i, tokens in zip(chosen, texts, strict=True)]
        return [_first_line(tokenizer, tokens) for tokens in fresh]

    groups = by_length([len(prompt) for prompt in prompts], min(4 * ROWS, -(-len(prompts) // WORKERS)))
    texts = dict(zip(chain(*groups), chain(*in_threads(written, groups)), strict=True))
    return [texts[i] for i in range(len(prompts))]


def _first_line(tokenizer: Any, tokens: np.ndarray) -> str:
    ended = len(tokens) and tokens[-1] in tokenizer.stop
    return tokenizer.decode(tokens[:-1] if ended else tokens).strip().partition("\n")[0].strip()


def scored(data: RealData, answers: Sequence[str]) -> dict[str, Any]:
    """Scores of the answers, intervals, and numbers for each meaning from which both can be made again."""
    words = [tokenize(text) for text in answers]
    references = [[tokenize(ref) for ref in example.references] for example in data.test]
    meanings = [example.meta["meaning"] for example in data.test]
    values = slot_values([*(parse(pair.mr) for pair in (*data.train, *data.rates)), *meanings])
    errors = [slot_errors(m, text, values) for m, text in zip(meanings, answers, strict=True)]
    each: dict[str, list[Any]] = {
        "bleu": [bleu_counts(c, refs) for c, refs in zip(words, references, strict=True)],
        "nist": [[round(x, 2) for x in counts] for counts in nist_counts(words, references)],
        "rouge_l": [[round(rouge_l(c, refs, beta=1.2), 4), 1] for c, refs in zip(words, references, strict=True)],
        "cider": [[round(x, 4), 1] for x in cider_each(words, references)],
        "slot_error": [[e, len(m)] for e, m in zip(errors, meanings, strict=True)],
    }
    lengths = [sum(map(len, refs)) / len(refs) for refs in references]
    copied = [m["name"] in text for m, text in zip(meanings, answers, strict=True) if "name" in m]
    return {
        **{name: FROM_SUMS[name](np.array(rows).sum(axis=0)) for name, rows in each.items()},
        "interval": {name: interval(np.array(rows), FROM_SUMS[name]) for name, rows in each.items()},
        "words": [float(np.mean([len(c) for c in words])), float(np.mean(lengths))],  # the answers', the references'
        "named": float(np.mean(copied)),  # the share of answers that hold the restaurant's name, letter by letter
        "each": each,
    }


def mean(sums: np.ndarray) -> float:
    """From the sums of [value, how many]."""
    return float(sums[0] / sums[1])


# From the sums of a metric's numbers over meanings to its value.
FROM_SUMS: dict[str, Callable[[np.ndarray], float]] = {
    "bleu": lambda sums: 100 * bleu_of(sums.tolist()),
    "nist": lambda sums: nist_of(sums.tolist()),
    "rouge_l": mean,
    "cider": mean,
    "slot_error": mean,
}


def interval(each: np.ndarray, score: Callable[[np.ndarray], float]) -> list[float]:
    """The bootstrap's 95 % interval: as many meanings again, drawn with replacement.  each (meanings, numbers)."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(each), size=(RESAMPLES, len(each)))
    return [round(float(x), 4) for x in np.percentile([score(sums) for sums in each[drawn].sum(axis=1)], COVERED)]
