"""Examples of one's own, a JSON object per line, as the field writes them:

    {"prompt": "Translate: Hund", "completion": " dog"}
    {"messages": [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi there."}]}

The loss is on the answers: the completion and the token that ends a text, or what the assistant says and its end mark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora.files.container import as_path
from minilora.text import RowData

Record = Mapping[str, Any]


def read_jsonl(path: str | Path) -> list[Record]:
    """The records in a file; empty lines are skipped.  ValueError, with the line, for what is not one of the two kinds;
    OSError if it cannot be read."""
    records = []
    for number, line in enumerate(as_path(path).read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number} is not JSON ({error})") from None
            records.append(_checked(record, f"{path}, line {number}"))
    if not records:
        raise ValueError(f'{path} is empty: give one {{"prompt": ..., "completion": ...}} per line')
    return records


def _checked(record: Any, place: str) -> Record:
    if isinstance(record, dict):
        if isinstance(record.get("prompt"), str) and isinstance(record.get("completion"), str):
            return record
        messages = record.get("messages")
        if isinstance(messages, list) and any(isinstance(m, dict) and m.get("role") == "assistant" for m in messages):
            return record
    raise ValueError(
        f'{place}: expected {{"prompt": text, "completion": text}} or {{"messages": [...]}} with a message of the '
        f"assistant's, found {json.dumps(record)[:80]}"
    )


def encode_record(record: Record, tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """A record -> tokens (T,) and weights (T,), 1 on the answers.  ValueError for a chat without its format."""
    if "messages" in record:
        if getattr(tokenizer, "chat", None) is None:
            raise ValueError(
                "the data holds conversations, and this base has no ChatML template: write prompts and completions"
            )
        return tokenizer.chat.encode_weighted(tokenizer, record["messages"])
    begin = getattr(tokenizer, "begin", None)
    parts = [
        np.array([] if begin is None else [begin], dtype=np.int64),
        tokenizer.encode(record["prompt"]),
        tokenizer.encode(record["completion"]),
        np.array([] if tokenizer.end_of_text is None else [tokenizer.end_of_text], dtype=np.int64),
    ]
    weights = np.repeat([0.0, 0.0, 1.0, 1.0], [len(part) for part in parts])
    return np.concatenate(parts), weights


class Encoded(NamedTuple):
    """Rows to train on; how many were too long and cut; and how many had no answer left, and are left out."""

    data: RowData
    cut: int
    dropped: int


def encode_records(records: Sequence[Record], tokenizer: Any, max_tokens: int) -> Encoded:
    """Each record as one row of at most `max_tokens` tokens.  ValueError if none has an answer left."""
    rows, weights, cut, dropped = [], [], 0, 0
    for record in records:
        tokens, weight = encode_record(record, tokenizer)
        if len(tokens) > max_tokens:
            cut += 1
            tokens, weight = tokens[:max_tokens], weight[:max_tokens]
        if not weight[1:].any():
            dropped += 1
            continue
        rows.append(tokens)
        weights.append(weight)
    if not rows:
        raise ValueError(f"no answer begins within {max_tokens} tokens: allow more with --max-tokens")
    return Encoded(RowData(rows, weights), cut, dropped)
