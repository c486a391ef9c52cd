"""Sampling text from a model, one token at a time, with a key/value cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from minilora.machine.backend import to_host
from minilora.machine.pieces import share_out
from minilora.nn import Decoder, Past, check_finite, generator, whole_number


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from its logits, as `generate` explains.  ValueError if a setting is out of range."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        check_finite("temperature", self.temperature)
        if self.top_k is not None:
            whole_number("top_k", self.top_k, 1)
        p = self.top_p
        if p is not None and (not isinstance(p, Real) or isinstance(p, bool) or not 0 < p <= 1):
            raise ValueError(f"top_p is {p!r}: give a number above 0 and up to 1, or None")


def generate(
    model: Decoder,
    tokens: Any,
    max_new_tokens: int | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | Sequence[int] | None = None,
    seed: int | np.random.Generator = 0,
    workers: int = 1,
) -> Any:
    """Continue `tokens`; returns them followed by the new ones.

    An array gives an array: (T,) -> (T + n,), or (B, T) -> (B, T + n), where a row that ended before the others is
    filled up with the first of the `stop` tokens.
    A list of prompts, each (T_i,), gives a list of texts, each (T_i + n_i,), without filling. They are computed
    together, yet text i is `generate(model, prompts[i], ..., seed=seeds[i])`, up to rounding, where
    `seeds = np.random.default_rng(seed).integers(2**63, size=len(prompts))`.

    temperature  draw from softmax(logits / temperature); 0 takes the likeliest token
    top_k        only from the k likeliest tokens
    top_p        of those, only from the fewest that are likeliest and have a probability of at least p together
                 (nucleus sampling, Holtzman et al. 2020, section 3.1)
    stop         the token, or several, with which a text ends; without one it ends after `max_new_tokens`, or at
                 `model.max_tokens`, prompt included
    seed         equal seeds, equal texts; a generator goes on from where it is
    workers      threads that share the rows; with another number of them, logits agree to rounding

    ValueError if a prompt is empty, leaves no room for one token, or is not whole numbers of the vocabulary; if a
    setting is out of range; or if the model's logits are not finite.
    """
    sampling, stops, rng = Sampling(temperature, top_k, top_p), _checked_stops(stop, model.vocab_size), generator(seed)
    most, workers = model.max_tokens, whole_number("workers", workers)
    if max_new_tokens is not None:
        most = min(most, whole_number("max_new_tokens", max_new_tokens, 0))
    if _is_list_of_prompts(tokens):
        prompts = [_checked(prompt, model, "(T,)") for prompt in tokens]
        return _continue_each(model, prompts, most, sampling, stops, rng, workers)
    prompt = _checked(tokens, model, "(T,) or (B, T)")
    rows = np.atleast_2d(prompt)
    steps = min(model.max_tokens - rows.shape[1], most)
    pasts = _new_pasts(model, len(rows), rows.shape[1] + steps, workers)
    finished = np.zeros(len(rows), dtype=bool)
    written = [rows]
    for fresh in stream(model, rows, pasts, steps, sampling, rng):
        if stops:
            fresh[finished] = stops[0]
            finished |= np.isin(fresh, stops)
        written.append(fresh[:, None])
        if finished.all():
            break
    rows = np.concatenate(written, axis=1)
    return rows if prompt.ndim == 2 else rows[0]


def stream(
    model: Decoder, tokens: np.ndarray, pasts: list[Past], steps: int, sampling: Sampling, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """One new token for each row, (B,), `steps` times: the model reads `tokens` (B, T) first, and then what it wrote.

    `pasts` hold what it has read before, each for an equal share of the rows, which gets a thread of its own. Whoever
    asks may write other tokens into the array; the model reads those.
    """
    for _ in range(steps):
        fresh = sample_token(_last_logits(model, tokens, pasts), sampling, rng)
        yield fresh
        tokens = fresh[:, None]


def _continue_each(
    model: Decoder,
    prompts: list[np.ndarray],
    max_new_tokens: int,
    sampling: Sampling,
    stops: list[int],
    rng: np.random.Generator,
    workers: int,
) -> list[np.ndarray]:
    """Continue prompts of any lengths together, each with the random numbers it would have by itself.

    All rows are at the same position t. A row that is still inside its prompt takes the prompt's next token; a row past
    its prompt takes the one that is drawn for it. So each has the positions and the attention it would have by itself.
    """
    rngs = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=len(prompts))]
    lengths = np.array([len(prompt) for prompt in prompts])
    ends = np.minimum(lengths + max_new_tokens, model.max_tokens)  # row i holds this many tokens at most
    tokens = np.zeros((len(prompts), ends.max()), dtype=np.int64)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    pasts = _new_pasts(model, len(prompts), ends.max(), workers)
    read, t = 0, lengths.min()
    while (writing := ends > t).any():
        logits = _last_logits(model, tokens[:, read:t], pasts)
        for i in np.flatnonzero(writing & (t >= lengths)):
            tokens[i, t] = sample_token(logits[i : i + 1], sampling, rngs[i])[0]
            if tokens[i, t] in stops:
                ends[i] = t + 1
        read, t = t, t + 1
    return [row[:end] for row, end in zip(tokens, ends, strict=True)]


def _new_pasts(model: Decoder, rows: int, tokens: int, workers: int) -> list[Past]:
    """An empty past for each worker's share of the rows."""
    return [model.new_past(len(share), tokens) for share in np.array_split(range(rows), max(1, min(rows, workers)))]


def _last_logits(model: Decoder, tokens: np.ndarray, pasts: list[Past]) -> np.ndarray:
    """The logits after the last of each row's tokens (B, T), on the host: (B, V)."""
    shares, logits = np.array_split(tokens, len(pasts)), [np.empty(0)] * len(pasts)

    def work(i: int) -> None:
        B, T = shares[i].shape
        last = model.xp.arange(1, B + 1) * T - 1 if T > 1 else None
        logits[i] = to_host(model.forward(shares[i], past=pasts[i], keep=False, positions=last)[0].reshape(B, -1))

    share_out(len(pasts), len(pasts), work)
    return logits[0] if len(pasts) == 1 else np.concatenate(logits)


def sample_token(logits: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> np.ndarray:
    """A token for each row, drawn from the softmax of its scores.  (B, V) -> (B,) int.

    The Gumbel-max trick: argmax(scores + Gumbel noise) is a draw from softmax(scores).
    """
    if not np.isfinite(logits.max(axis=-1)).all():
        raise ValueError("the model's logits are NaN or infinite: its weights are damaged, load an earlier version")
    if sampling.temperature == 0:
        return logits.argmax(axis=-1)
    scores = scored(logits, sampling)
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=-1)


def scored(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """(logits - their maximum) / temperature, and -inf for what top_k and then top_p leave out.  (B, V), float64."""
    with np.errstate(over="ignore"):  # at a tiny temperature all but the likeliest become -inf
        scores = (logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        kth = np.partition(scores, -sampling.top_k, axis=-1)[:, -sampling.top_k, None]
        scores[scores < kth] = -np.inf
    if sampling.top_p is not None and sampling.top_p < 1:
        order = scores.argsort(axis=-1)[:, ::-1]
        falling = np.take_along_axis(scores, order, axis=-1)
        p = np.exp(falling)
        p /= p.sum(axis=-1, keepdims=True)
        falling[p.cumsum(axis=-1) - p >= sampling.top_p] = -np.inf  # those that are likelier suffice
        np.put_along_axis(scores, order, falling, axis=-1)
    return scores


def _is_list_of_prompts(tokens: Any) -> bool:
    return isinstance(tokens, (list, tuple)) and any(isinstance(prompt, (list, tuple, np.ndarray)) for prompt in tokens)


def _checked(tokens: Any, model: Decoder, shape: str) -> np.ndarray:
    """One prompt or an array of them, int64.  ValueError unless it has this shape and the model can continue it."""
    try:
        prompt = np.asarray(tokens)
    except ValueError:  # a list of lists of different lengths inside a list
        raise ValueError(f"a prompt is a ragged list: give whole numbers of shape {shape}") from None
    if prompt.size and prompt.dtype.kind not in "iu":
        raise ValueError(f"tokens are of type {prompt.dtype}: give whole numbers, such as tokenizer.encode(text)")
    if prompt.ndim not in ((1,) if shape == "(T,)" else (1, 2)):
        raise ValueError(f"a prompt has shape {prompt.shape}: give whole numbers of shape {shape}")
    if not 0 < prompt.shape[-1] < model.max_tokens:
        raise ValueError(
            f"the prompt has {prompt.shape[-1]} tokens: give 1 to {model.max_tokens - 1}, so that at least one more "
            f"fits into the model's max_tokens={model.max_tokens}"
        )
    if prompt.size and not 0 <= prompt.min() <= prompt.max() < model.vocab_size:
        raise ValueError(
            f"tokens run from {prompt.min()} to {prompt.max()}: this model's vocabulary is 0 to {model.vocab_size - 1}"
        )
    return prompt.astype(np.int64)


def _checked_stops(stop: int | Sequence[int] | None, vocab_size: int) -> list[int]:
    """ValueError unless these are tokens."""
    if stop is None:
        return []
    stop = stop.tolist() if isinstance(stop, np.ndarray) else stop
    stops = stop if isinstance(stop, (list, tuple)) else [stop]
    return [whole_number("stop", token, 0, vocab_size - 1) for token in stops]
