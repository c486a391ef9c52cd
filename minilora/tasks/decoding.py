"""Answering many prompts at once: greedy decoding with a key/value cache, for rows of different lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilora.machine.backend import to_host
from minilora.nn import Decoder
from minilora.tasks.task import END, Example
from minilora.text import ByteTokenizer


def answer(model: Decoder, examples: Sequence[Example], max_new: int | None = None, batch_size: int = 64) -> list[str]:
    """The model's answer to each prompt: the likeliest byte at each step, up to END.

    An answer without END stops after `max_new` bytes, or at the model's `max_tokens`. `batch_size` prompts of similar
    length are answered together; each gets the answer it would get by itself, up to rounding.  ValueError if a prompt
    is empty or leaves no room for an answer.
    """
    tokenizer, most = ByteTokenizer(), model.max_tokens
    prompts = [tokenizer.encode(example.prompt) for example in examples]
    for prompt in prompts:
        if not 0 < len(prompt) < most:
            raise ValueError(
                f"a prompt has {len(prompt)} bytes: give 1 to {most - 1}, "
                f"so that at least one more fits into the model's max_tokens={most}"
            )
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        rows = _continue(model, [prompts[i] for i in chosen], most if max_new is None else max_new)
        for i, row in zip(chosen, rows, strict=True):
            answers[i] = tokenizer.decode(row).partition(END)[0]
    return answers


def _continue(model: Decoder, prompts: list[np.ndarray], max_new: int) -> list[np.ndarray]:
    """The continuation of each prompt: at most `max_new` tokens; what follows the first END means nothing.

    All rows are at the same position t. A row that is still inside its prompt takes the prompt's next byte; a row past
    its prompt takes the byte that the model finds likeliest. Each row has the positions and the attention that it would
    have by itself.
    """
    end = ByteTokenizer().encode(END)[0]
    lengths = np.array([len(prompt) for prompt in prompts])
    stops = np.minimum(lengths + max_new, model.max_tokens)  # row i stops at this length
    tokens = np.zeros((len(prompts), stops.max()), dtype=np.int64)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    past = model.new_past(len(prompts))
    fed, t = 0, lengths.min()
    finished = stops <= t
    while not finished.all():
        logits, _ = model.forward(tokens[:, fed:t], past=past, keep=False)
        likeliest = to_host(logits[:, -1]).argmax(axis=-1)
        writes = t >= lengths
        tokens[writes, t] = likeliest[writes]
        finished |= (writes & (likeliest == end)) | (t + 1 >= stops)
        fed, t = t, t + 1
    return [row[length:stop] for row, length, stop in zip(tokens, lengths, stops, strict=True)]
