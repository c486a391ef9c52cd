"""Sampling text from a model, one token at a time, with a key/value cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilora.machine.backend import to_host
from minilora.transformer import GPT


def generate(
    model: GPT,
    tokens: Any,
    max_new_tokens: int | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    stop: int | None = None,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """Continue `tokens` (T,) or (B, T); returns them with the new ones behind, (T + n,) or (B, T + n).

    Each step draws from softmax(logits / temperature), restricted to the `top_k` likeliest tokens;
    temperature 0 takes the likeliest. A position needs an embedding, so the text ends at `model.max_tokens` at
    the latest, prompt included; before that after `max_new_tokens`, or when every row has drawn the token
    `stop` (a row that has is filled up with it).
    ValueError if the prompt is empty, does not leave room for one token, or a setting is out of range.
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
    rng = np.random.default_rng(seed)
    past = model.new_past(len(rows))
    finished = np.zeros(len(rows), dtype=bool)
    fresh = rows
    for _ in range(room if max_new_tokens is None else min(room, max_new_tokens)):
        logits, _ = model.forward(fresh, past=past, keep=False)
        fresh = sample_token(to_host(logits[:, -1]), temperature, top_k, rng)[:, None]
        if stop is not None:
            fresh[finished] = stop
            finished |= fresh[:, 0] == stop
        rows = np.concatenate([rows, fresh], axis=1)
        if stop is not None and finished.all():
            break
    return rows if prompt.ndim == 2 else rows[0]


def sample_token(logits: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator) -> np.ndarray:
    """One token a row from softmax(logits / temperature) over its `top_k` likeliest.  (B, V) -> (B,) int.

    The Gumbel-max trick: argmax(logits / temperature + Gumbel noise) is a draw from that softmax.
    """
    if temperature == 0:
        return logits.argmax(axis=-1)
    scores = logits.astype(np.float64) / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        kth = np.partition(scores, -top_k, axis=-1)[:, -top_k, None]
        scores[scores < kth] = -np.inf
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=-1)
