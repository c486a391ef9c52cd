"""GPT-2's tokenizer: byte-level byte-pair encoding (Radford et al. 2019, section 2.2), by the `tokenizers` library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minilora.files.container import CheckpointError
from minilora.hf.safetensors_folder import extra

END_OF_TEXT = "<|endoftext|>"


class BPETokenizer:
    """`encode` and `decode` as `ByteTokenizer` has them, around a `tokenizers.Tokenizer`."""

    unit = "token"

    def __init__(self, tokenizer: Any) -> None:
        # A folder may keep its last trainer's habit of cutting or filling up every text: neither is wanted here.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        """The number of tokens, added ones included."""
        return self.tokenizer.get_vocab_size()

    @property
    def end_of_text(self) -> int | None:
        """The token between two documents, at which a generation may `stop`; None if there is none."""
        return self.tokenizer.token_to_id(END_OF_TEXT)

    def encode(self, text: str) -> np.ndarray:
        """Text -> tokens (T,) int64.  "<|endoftext|>" in the text becomes that one token."""
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, tokens: np.ndarray) -> str:
        """Tokens (T,) -> text; bytes that are no UTF-8 (a character cut in half) become U+FFFD."""
        return self.tokenizer.decode(np.asarray(tokens).tolist(), skip_special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, and vocab.json and merges.txt for readers older than that."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        self.tokenizer.model.save(str(folder))


def load_tokenizer(folder: Path) -> BPETokenizer | None:
    """The tokenizer in tokenizer.json, or in vocab.json and merges.txt; None if the folder has neither.

    CheckpointError if a file is damaged or one of the two is missing.
    """
    whole, vocab, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if not any(path.exists() for path in (whole, vocab, merges)):
        return None
    tokenizers = extra("tokenizers")
    try:
        if whole.exists():
            return BPETokenizer(tokenizers.Tokenizer.from_file(str(whole)))
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges)))
    except Exception as error:  # the library raises a bare Exception for every fault
        raise CheckpointError(
            f"{folder}: the tokenizer's files are damaged or incomplete ({error}): fetch them again"
        ) from None
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if tokenizer.token_to_id(END_OF_TEXT) is not None:
        tokenizer.add_special_tokens([END_OF_TEXT])
    return BPETokenizer(tokenizer)
