"""Answering the prompts of a task, many at once."""

from __future__ import annotations

from collections.abc import Sequence

from minilora.generate import generate
from minilora.nn import Decoder, whole_number
from minilora.tasks.task import END, Example, check_examples
from minilora.text import ByteTokenizer


def answer(model: Decoder, examples: Sequence[Example], max_new: int | None = None, batch_size: int = 64) -> list[str]:
    """The model's answer to each prompt: the likeliest byte at each step, up to END.

    An answer without END stops after `max_new` bytes, or at the model's `max_tokens`. `batch_size` prompts of similar
    length are answered together; each gets the answer it would get by itself, up to rounding.  ValueError if a prompt
    is empty or leaves no room for an answer.
    """
    tokenizer, most = ByteTokenizer(), model.max_tokens
    whole_number("batch_size", batch_size)
    check_examples(examples)
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
        texts = generate(model, [prompts[i] for i in chosen], max_new, temperature=0, stop=ord(END))
        for i, text in zip(chosen, texts, strict=True):
            answers[i] = tokenizer.decode(text[len(prompts[i]) :]).partition(END)[0]
    return answers
