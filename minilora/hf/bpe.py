"""Byte-level byte-pair encoding (Radford et al. 2019, section 2.2), by the `tokenizers` library.

A tokenizer comes from the files of a Hugging Face folder, or from the settings of a GGUF file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minilora.files.container import CheckpointError
from minilora.hf.chat import ChatML, chatml
from minilora.hf.safetensors_folder import extra, read_json

END_OF_TEXT = "<|endoftext|>"


@dataclass
class BPETokenizer:
    """`encode` and `decode` as `ByteTokenizer` has them, around a `tokenizers.Tokenizer`.

    end_of_text  the token that ends a document, at which a generation may `stop`; None if there is none
    begin        the token that every document begins with; None for a model that was trained without
    stop         every token that ends a reply
    chat         the format of conversations; None if the files have no chat template, or none that is read here
    """

    tokenizer: Any
    end_of_text: int | None = None
    begin: int | None = None
    stop: tuple[int, ...] = ()
    chat: ChatML | None = None

    unit = "token"

    def __post_init__(self) -> None:
        # A folder may keep its last trainer's habit of cutting or filling up every text: neither is wanted here.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        if self.end_of_text is None:
            self.end_of_text = self.tokenizer.token_to_id(END_OF_TEXT)
        if not self.stop and self.end_of_text is not None:
            self.stop = (self.end_of_text,)

    @property
    def vocab_size(self) -> int:
        """The number of tokens, added ones included."""
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Text -> tokens (T,) int64.  "<|endoftext|>" in the text becomes that one token."""
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, tokens: np.ndarray | list[int]) -> str:
        """Tokens (T,) -> text; bytes that are no UTF-8 (a character cut in half) become U+FFFD."""
        return self.tokenizer.decode(np.asarray(tokens).tolist(), skip_special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, and vocab.json and merges.txt for readers older than that."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        self.tokenizer.model.save(str(folder))


def load_tokenizer(folder: Path) -> BPETokenizer | None:
    """The tokenizer in tokenizer.json, or in vocab.json and merges.txt; None if the folder has neither.

    What ends a text or a reply, and the chat template, are in tokenizer_config.json and generation_config.json.
    CheckpointError if a file is damaged or one of the two is missing.
    """
    whole, vocab, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if not any(path.exists() for path in (whole, vocab, merges)):
        return None
    tokenizers = extra("tokenizers")
    try:
        if whole.exists():
            return _with_folder_settings(tokenizers.Tokenizer.from_file(str(whole)), folder)
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges)))
    except CheckpointError:
        raise
    except Exception as error:  # the library raises a bare Exception for every fault
        raise CheckpointError(
            f"{folder}: the tokenizer's files are damaged or incomplete ({error}): fetch them again"
        ) from None
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if tokenizer.token_to_id(END_OF_TEXT) is not None:
        tokenizer.add_special_tokens([END_OF_TEXT])
    return _with_folder_settings(tokenizer, folder)


def _with_folder_settings(tokenizer: Any, folder: Path) -> BPETokenizer:
    """The tokenizer with what the folder's other files say about it; a file that is missing says nothing."""
    paths = [folder / name for name in ("tokenizer_config.json", "generation_config.json")]
    config, generation = (read_json(path) if path.exists() else {} for path in paths)
    template, jinja = config.get("chat_template"), folder / "chat_template.jinja"
    if isinstance(template, list):  # several under names
        template = next((entry.get("template") for entry in template if entry.get("name") == "default"), None)
    if jinja.exists():
        template = jinja.read_text("utf-8")

    def token(name: str) -> int | None:
        text = config.get(name)
        text = text.get("content") if isinstance(text, Mapping) else text
        return tokenizer.token_to_id(text) if isinstance(text, str) else None

    end, stop = token("eos_token"), generation.get("eos_token_id")
    stops = [end, *(stop if isinstance(stop, list) else [stop])]
    # A post-processor adds the token that documents begin with, where there is one.
    first = tokenizer.encode("", add_special_tokens=True).ids[:1]
    begin = first[0] if first and first[0] == token("bos_token") else None
    return BPETokenizer(
        tokenizer,
        end_of_text=end,
        begin=begin,
        stop=tuple(dict.fromkeys(t for t in stops if isinstance(t, int))),
        chat=chatml(template if isinstance(template, str) else None),
    )


# ------------------------------------------------------------------------------------------------ from GGUF

# How a text is cut into words before its bytes are merged, under llama.cpp's names: whether each digit is a word of
# its own, or else the pattern that every word must match.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = {"smollm": None, "llama-bpe": LLAMA_3, "qwen2": LLAMA_3.replace("{1,3}", "")}
CONTROL, USER_DEFINED = 3, 4  # kinds of tokens that are never cut


def gguf_tokenizer(settings: Mapping[str, Any], path: Path) -> BPETokenizer:
    """The tokenizer that a GGUF file holds.  CheckpointError if it is of another kind, or damaged."""
    said = {key.removeprefix("tokenizer.ggml."): value for key, value in settings.items()}
    model, pre = said.get("model"), said.get("pre")
    if model != "gpt2" or pre not in WORDS:
        raise CheckpointError(
            f"{path} has a tokenizer of the kind {model!r}, {pre!r}, and minilora reads 'gpt2' with "
            f"{', '.join(WORDS)}: use the folder that the file was made from, with its tokenizer.json"
        )
    tokens, merges = said.get("tokens"), said.get("merges")
    kinds = said.get("token_type", np.ones(len(tokens or ()), int))
    if not isinstance(tokens, list) or not isinstance(merges, list) or len(kinds) != len(tokens):
        raise CheckpointError(f"{path} has a tokenizer without tokens, merges or their kinds: fetch it again")
    tokenizers = extra("tokenizers")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    try:
        bpe = tokenizers.models.BPE(vocabulary, pairs, ignore_merges=pre == "llama-bpe")
    except Exception as error:  # the library raises a bare Exception for every fault
        raise CheckpointError(f"{path}: its tokenizer is damaged ({error}): fetch it again") from None
    tokenizer = tokenizers.Tokenizer(bpe)
    cut, byte_level = tokenizers.pre_tokenizers, tokenizers.pre_tokenizers.ByteLevel
    if WORDS[pre] is None:
        words = [cut.Digits(individual_digits=True), byte_level(add_prefix_space=False)]
    else:
        pattern = cut.Split(tokenizers.Regex(WORDS[pre]), "isolated")
        words = [pattern, byte_level(add_prefix_space=False, use_regex=False)]
    tokenizer.pre_tokenizer = cut.Sequence(words)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if pre == "qwen2":
        tokenizer.normalizer = tokenizers.normalizers.NFC()
    for kind, special in ((CONTROL, True), (USER_DEFINED, False)):
        texts = [tokens[i] for i in np.flatnonzero(np.asarray(kinds) == kind)]
        added = [tokenizers.AddedToken(text, special=special, normalized=False) for text in texts]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(added)

    def token(name: str) -> int | None:
        found = said.get(f"{name}_token_id")
        return found if isinstance(found, int) and 0 <= found < len(tokens) else None

    stops = [token("eos"), token("eot"), *(vocabulary.get(text) for text in ("<|im_end|>", "<|eot_id|>"))]
    template = settings.get("tokenizer.chat_template")
    return BPETokenizer(
        tokenizer,
        end_of_text=token("eos"),
        begin=token("bos") if said.get("add_bos_token", pre == "llama-bpe") else None,
        stop=tuple(dict.fromkeys(t for t in stops if t is not None)),
        chat=chatml(template if isinstance(template, str) else None),
    )
