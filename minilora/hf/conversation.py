"""A conversation with a model, its replies word by word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minilora.generate import Sampling, stream
from minilora.hf.chat import END, ChatML
from minilora.hf.tokenizer import BPETokenizer


class Conversation:
    """What has been said so far, in `messages`; the model's keys and values of it are kept from turn to turn.

    Once the conversation no longer fits into the model's context, its oldest question and answer are dropped.
    ValueError if the tokenizer has no chat format.
    """

    def __init__(self, model: Any, tokenizer: BPETokenizer, system: str | None = None, seed: int = 0) -> None:
        if tokenizer.chat is None:
            raise ValueError("this base has no ChatML template, so it was not tuned to chat: use `minilora generate`")
        self.model, self.tokenizer = model, tokenizer
        self.format = tokenizer.chat if system is None else ChatML(system)
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self.messages: list[dict[str, str]] = []
        self._forget_keys()

    def _forget_keys(self) -> None:
        self.past, self.length = self.model.new_past(1), 0  # tokens that the model holds keys and values of
        self.unread = np.zeros(0, np.int64)  # what it wrote last, and has not read

    def reply(
        self, text: str, max_new_tokens: int = 512, temperature: float = 0.7, top_k: int | None = 40
    ) -> Iterator[str]:
        """The model's answer to `text`, in pieces as they are written.  ValueError if the text alone does not fit."""
        sampling = Sampling(temperature, top_k)
        self.messages.append({"role": "user", "content": text})
        tokens = self._tokens_to_read(min(max_new_tokens, self.model.max_tokens // 2))
        self.length += len(tokens)
        room = min(max_new_tokens, self.model.max_tokens - self.length)
        written: list[int] = []
        shown = ""
        for (token,) in stream(self.model, tokens[None], [self.past], room, sampling, self.rng):
            if token in self.tokenizer.stop:
                break
            written.append(int(token))
            so_far = self.tokenizer.decode(written)
            if not so_far.endswith("\ufffd"):  # half a character waits for its other half
                yield so_far[len(shown) :]
                shown = so_far
        read = len(written) if len(written) < room else len(written) - 1  # the last token of all was never read
        self.length += read
        self.unread = np.array(written[read:], np.int64)
        self.messages.append({"role": "assistant", "content": self.tokenizer.decode(written)})

    def _tokens_to_read(self, room: int) -> np.ndarray:
        """What the model has not read of the conversation, with at least `room` tokens left for its answer."""
        if self.length:
            end = self.tokenizer.encode(f"{END}\n")
            turn = ChatML().encode(self.tokenizer, self.messages[-1:])
            tokens = np.concatenate([self.unread, end, turn])
            if self.length + len(tokens) + room <= self.model.max_tokens:
                return tokens
            self._forget_keys()
        while True:
            tokens = self.format.encode(self.tokenizer, self.messages)
            if len(tokens) + room <= self.model.max_tokens:
                return tokens
            if len(self.messages) == 1:
                self.messages.clear()
                raise ValueError(f"{len(tokens)} tokens do not fit into the model's {self.model.max_tokens}: say less")
            del self.messages[:2]
