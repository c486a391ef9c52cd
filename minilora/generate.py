"""Sampling text from a model, one token at a time, with a key/value cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minilora.machine.backend import to_host
from minilora.nn import Decoder, Past


def generate(
    model: Decoder,
    tokens: Any,
    max_new_tokens: int | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    stop: int | Sequence[int] | None = None,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """Continue `tokens` (T,) or (B, T); returns them followed by the new ones, (T + n,) or (B, T + n).

    Each step draws from softmax(logits / temperature), restricted to the `top_k` likeliest tokens; temperature 0 takes
    the likeliest. The text ends after `max_new_tokens`, or when every row has drawn a token of `stop`, one or several
    (the first of them fills up a row that has), or at `model.max_tokens`, prompt included.
    ValueError if the prompt is empty or leaves no room for one token, or if a setting is out of range.
    """
    prompt = np.asarray(tokens)
    rows = np.atleast_2d(prompt).astype(np.int64)
    most = model.max_tokens
    if not 0 < rows.shape[1] < most:
        raise ValueError(
            f"the prompt has {rows.shape[1]} tokens: give 1 to {most - 1}, so that at least one more fits into the "
            f"model's max_tokens={most}"
        )
    if not temperature >= 0 or (top_k is not None and top_k < 1):
        raise ValueError(f"temperature={temperature} must be at least 0 and top_k={top_k} at least 1, or None")
    if max_new_tokens is not None and max_new_tokens < 0:
        raise ValueError(f"max_new_tokens={max_new_tokens} must not be negative")
    room = most - rows.shape[1]
    steps = room if max_new_tokens is None else min(room, max_new_tokens)
    past = model.new_past(len(rows), rows.shape[1] + steps)
    stops = np.atleast_1d([] if stop is None else stop)
    finished = np.zeros(len(rows), dtype=bool)
    written = [rows]
    for fresh in stream(
        model, rows, past, steps, temperature=temperature, top_k=top_k, rng=np.random.default_rng(seed)
    ):
        if stop is not None:
            fresh[finished] = stops[0]
            finished |= np.isin(fresh, stops)
        written.append(fresh[:, None])
        if stop is not None and finished.all():
            break
    rows = np.concatenate(written, axis=1)
    return rows if prompt.ndim == 2 else rows[0]


def stream(
    model: Decoder,
    tokens: np.ndarray,
    past: Past,
    steps: int,
    *,
    temperature: float,
    top_k: int | None,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """One new token for each row, (B,), `steps` times: the model reads `tokens` (B, T) first, and then what it wrote.

    `past` holds what it has read before. Whoever asks may write other tokens into the array; the model reads those.
    """
    B, T = tokens.shape
    last = model.xp.arange(1, B + 1) * T - 1 if T > 1 else None
    for _ in range(steps):
        logits, _ = model.forward(tokens, past=past, keep=False, positions=last)
        fresh = sample_token(to_host(logits.reshape(B, -1)), temperature, top_k, rng)
        yield fresh
        tokens, last = fresh[:, None], None


def sample_token(logits: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator) -> np.ndarray:
    """A token for each row, from softmax(logits / temperature) over its `top_k` likeliest.  (B, V) -> (B,) int.

    The Gumbel-max trick: argmax(logits / temperature + Gumbel noise) is a draw from that softmax.
    """
    if temperature == 0:
        return logits.argmax(axis=-1)
    scores = logits.astype(np.float64) / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        kth = np.partition(scores, -top_k, axis=-1)[:, -top_k, None]
        scores[scores < kth] = -np.inf
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=-1)
