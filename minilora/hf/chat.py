"""Conversations as text: ChatML, the format that SmolLM2, Qwen and many others were tuned on.

    <|im_start|>system
    You are a helpful assistant.<|im_end|>
    <|im_start|>user
    Hello!<|im_end|>
    <|im_start|>assistant
    Hi there.<|im_end|>

A model's files carry its format as a Jinja template, a small program. It is not run: a template that writes ChatML is
recognized by its markers, any other is refused. What only some ChatML templates do, such as listing tools or dropping
an earlier turn's thoughts, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

START, END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")

# The system message that a template writes where the conversation has none: a literal between its two markers.
DEFAULT_SYSTEM = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^'\"{}<]+)<\|im_end\|>")


@dataclass(frozen=True)
class ChatML:
    """The format of one model: `system` is what stands in front of a conversation that has no system message."""

    system: str | None = None

    def encode(self, tokenizer: Any, messages: Sequence[Mapping[str, str]], reply: bool = True) -> np.ndarray:
        """A conversation -> tokens (T,); with `reply`, up to where the assistant's next message begins."""
        tokens, _ = self.encode_weighted(tokenizer, messages)
        head = tokenizer.encode(f"{START}assistant\n") if reply else tokens[:0]
        return np.concatenate([tokens, head])

    def encode_weighted(self, tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """A conversation -> tokens (T,) and weights (T,): 1 for what the assistant writes, its end mark included.

        ValueError if a message is no `{"role": "system" | "user" | "assistant", "content": text}`.
        """
        messages = [_checked(message) for message in messages]
        if self.system is not None and (not messages or messages[0]["role"] != "system"):
            messages = [{"role": "system", "content": self.system}, *messages]
        tokens, weights = [np.zeros(0, np.int64)], [np.zeros(0)]
        for message in messages:
            own = message["role"] == "assistant"
            head, text = f"{START}{message['role']}\n", f"{message['content']}{END}"
            # An answer is cut from its head, as it is when the model writes it.
            for part, weight in ((head, 0), (text, 1), ("\n", 0)) if own else ((f"{head}{text}\n", 0),):
                tokens.append(tokenizer.encode(part))
                weights.append(np.full(len(tokens[-1]), float(weight)))
        return np.concatenate(tokens), np.concatenate(weights)


def chatml(template: str | None) -> ChatML | None:
    """The format that a chat template writes, or None if that is not ChatML or there is no template."""
    if template is None or START not in template or END not in template:
        return None
    default = DEFAULT_SYSTEM.search(template)
    return ChatML(None if default is None else default[1].replace("\\n", "\n"))


def _checked(message: Mapping[str, str]) -> Mapping[str, str]:
    if (
        not isinstance(message, Mapping)
        or message.get("role") not in ROLES
        or not isinstance(message.get("content"), str)
    ):
        raise ValueError(
            f'a message is {{"role": ..., "content": text}} with a role of {", ".join(ROLES)}, not {message!r:.80}'
        )
    return message
