"""Byte-level byte-pair encoding (Radford et al. 2019, section 2.2), by the `tokenizers` library.

A tokenizer comes from the files of a Hugging Face folder, or from the settings of a GGUF file; so does the token that
ends a text, at which generation stops.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora.files.container import CheckpointError, as_path, check_is_file
from minilora.hf.chat import ChatML, chatml
from minilora.hf.safetensors_folder import extra, read_json

# What a folder says about its tokens beside the tokenizer itself. It goes along when the model is saved.
CARRIED = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", *CARRIED)
NOT_CARRIED = ("auto_map", "n_ctx", "quantization_config", "torch_dtype")
END_OF_TEXT = "<|endoftext|>"  # GPT-2's, whose first folders name no tokens


@dataclass
class BPETokenizer:
    """`encode` and `decode` as `ByteTokenizer` has them, around a `tokenizers.Tokenizer`.

    end_of_text  the token that ends a document, at which a generation may `stop`; None if there is none
    begin        the token that every document begins with; None for a model that was trained without
    stop         every token that ends a reply
    chat         the format of conversations; None if the files have no chat template, or none that is read here
    config       the folder's config.json, of which all but sizes goes along when the model is saved
    files        name -> content of those of the folder's files that are `CARRIED`
    """

    tokenizer: Any
    end_of_text: int | None = None
    begin: int | None = None
    stop: tuple[int, ...] = ()
    chat: ChatML | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    unit = "token"

    def __post_init__(self) -> None:
        # A folder may keep its last trainer's habit of cutting or filling up every text: neither is wanted here.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        if self.end_of_text is None and not self.stop:
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

    def carried(self) -> dict[str, Any]:
        """What config.json says that is neither weights nor sizes, such as the tokens that begin and end a text."""
        return {name: value for name, value in self.config.items() if name not in NOT_CARRIED}

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, vocab.json and merges.txt for readers older than that, and the files that go along."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        self.tokenizer.model.save(str(folder))
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def load_tokenizer(folder: str | Path) -> BPETokenizer | None:
    """The tokenizer in tokenizer.json, or in vocab.json and merges.txt; None if the folder has neither.

    What ends a text or a reply, added tokens and the chat template are in the folder's other files.
    CheckpointError if a file is damaged or one of the two is missing.
    """
    folder = as_path(folder)
    whole, vocab, merges = paths = [folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt")]
    there = [path for path in paths if path.exists()]
    if not there:
        return None
    tokenizers = extra("tokenizers")
    for path in there:
        check_is_file(path)
    try:
        if whole.exists():
            tokenizer = tokenizers.Tokenizer.from_file(str(whole))
        else:
            tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges)))
            tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = tokenizers.decoders.ByteLevel()
    except Exception as error:  # the library raises a bare Exception for every fault
        raise CheckpointError(
            f"{folder}: the tokenizer's files are damaged or incomplete ({error}): fetch them again"
        ) from None
    return _with_settings(tokenizer, _Settings.of(folder), folder)


class _Settings(NamedTuple):
    """What a folder's other files say about its tokens; a file that is missing says nothing."""

    model: dict[str, Any]  # config.json
    generation: dict[str, Any]  # generation_config.json
    tokenizer: dict[str, Any]  # tokenizer_config.json, over special_tokens_map.json
    added: dict[str, Any]  # added_tokens.json: text -> number
    files: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> _Settings:
        names = ("config.json", *(name for name in CARRIED if name.endswith(".json")))
        model, generation, tokenizer, special, added = (
            read_json(folder / name) if (folder / name).exists() else {} for name in names
        )
        files = {name: (folder / name).read_bytes() for name in CARRIED if (folder / name).exists()}
        return cls(model, generation, special | tokenizer, added, files)

    def text(self, name: str) -> str | None:
        """The text of a special token, such as "eos_token"."""
        return _text(self.tokenizer.get(name))

    def special(self) -> list[str]:
        """The texts of all special tokens."""
        found = [self.text(name) for name in self.tokenizer if name.endswith("_token")]
        found += map(_text, self.tokenizer.get("additional_special_tokens") or [])
        return [text for text in found if text]

    def added_tokens(self) -> dict[int, str]:
        """Number -> text of every token that was added after training.  ValueError, TypeError if they make no sense."""
        more = self.tokenizer.get("added_tokens_decoder") or {}
        found = {int(i): text for text, i in self.added.items()}
        return dict(sorted((found | {int(i): token["content"] for i, token in more.items()}).items()))

    def template(self) -> str | None:
        """The chat template's source."""
        if "chat_template.jinja" in self.files:
            return self.files["chat_template.jinja"].decode("utf-8", "replace")
        template = self.tokenizer.get("chat_template")
        if isinstance(template, list):  # several under names
            template = next((entry.get("template") for entry in template if entry.get("name") == "default"), None)
        return template if isinstance(template, str) else None

    def stops(self) -> list[Any]:
        """The numbers that end a generation, where transformers looks for them."""
        found = self.generation.get("eos_token_id", self.model.get("eos_token_id"))
        return found if isinstance(found, list) else [found]


def _text(token: Any) -> str | None:
    """A special token's text: JSON has the text itself, or an object with its `content`."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None


def _with_settings(tokenizer: Any, settings: _Settings, folder: Path) -> BPETokenizer:
    """The tokenizer with the folder's added tokens, and what the folder says about them."""
    try:
        _add_tokens(tokenizer, settings)
        template = settings.template()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: the settings of its tokenizer are damaged ({error}): fetch it again"
        ) from None

    def token(name: str) -> int | None:
        text = settings.text(name)
        return None if text is None else tokenizer.token_to_id(text)

    end, size = token("eos_token"), tokenizer.get_vocab_size()
    stops = [end, *(stop for stop in settings.stops() if type(stop) is int and 0 <= stop < size)]
    # A post-processor adds the token that documents begin with, where there is one.
    first = tokenizer.encode("", add_special_tokens=True).ids[:1]
    begin = first[0] if first and first[0] == token("bos_token") else None
    return BPETokenizer(
        tokenizer,
        end_of_text=next((stop for stop in stops if stop is not None), None),
        begin=begin,
        stop=tuple(dict.fromkeys(stop for stop in stops if stop is not None)),
        chat=chatml(template),
        config=settings.model,
        files=settings.files,
    )


def _add_tokens(tokenizer: Any, settings: _Settings) -> None:
    """Add what the tokenizer's own file lacks.  ValueError if a token does not get the number that the folder says."""
    added = extra("tokenizers").AddedToken
    special = {END_OF_TEXT, *settings.special()}
    for number, text in settings.added_tokens().items():
        if tokenizer.token_to_id(text) is None:
            tokenizer.add_tokens([added(text, special=text in special, normalized=False)])
        if tokenizer.token_to_id(text) != number:
            raise ValueError(f"{text!r} is to be token {number}, and is {tokenizer.token_to_id(text)}")
    tokenizer.add_special_tokens([text for text in sorted(special) if tokenizer.token_to_id(text) is not None])


def check_fits(tokenizer: BPETokenizer | None, vocab_size: int, where: Any) -> None:
    """CheckpointError if the tokenizer's own vocabulary is larger than the model's table. A warning if only tokens that
    were added later are: the model is whole without them."""
    if tokenizer is None:
        return
    beyond = {text for text, number in tokenizer.tokenizer.get_vocab().items() if number >= vocab_size}
    added = {token.content for token in tokenizer.tokenizer.get_added_tokens_decoder().values()}
    if not beyond:
        return
    found = f"{where}: the table of {vocab_size} tokens has no row for {', '.join(map(repr, sorted(beyond)[:5]))}"
    if beyond - added:
        raise CheckpointError(f"{found} ({len(beyond)} such): the tokenizer belongs to a different model")
    warnings.warn(
        f"{found}: do not write them in a text, or give them rows first, in transformers with "
        "model.resize_token_embeddings(len(tokenizer)) and save_pretrained()",
        stacklevel=3,
    )


# ------------------------------------------------------------------------------------------------ from GGUF

# How a text is cut into words before its bytes are merged, under llama.cpp's names: whether each digit is a word of
# its own, or else the pattern that every word must match.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = {"smollm": None, "llama-bpe": LLAMA_3, "qwen2": LLAMA_3.replace("{1,3}", "")}
HF_SPECIAL = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}  # GGUF's name -> transformers'
CONTROL, USER_DEFINED = 3, 4  # kinds of tokens that are never cut


def _bpe(vocabulary: dict[str, int], merges: list[str], pre: str) -> Any:
    """A byte-level BPE over words cut as WORDS has it for `pre`."""
    tokenizers = extra("tokenizers")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, pairs, ignore_merges=pre == "llama-bpe"))
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
    return tokenizer


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
    try:
        tokenizer = _bpe(vocabulary, merges, pre)
    except Exception as error:  # the library raises a bare Exception for every fault
        raise CheckpointError(f"{path}: its tokenizer is damaged ({error}): fetch it again") from None
    for kind, special in ((CONTROL, True), (USER_DEFINED, False)):
        texts = [tokens[i] for i in np.flatnonzero(np.asarray(kinds) == kind)]
        added = [tokenizers.AddedToken(text, special=special, normalized=False) for text in texts]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(added)

    def token(name: str) -> int | None:
        found = said.get(f"{name}_token_id")
        return found if isinstance(found, int) and 0 <= found < len(tokens) else None

    stops = [token("eos"), token("eot"), *(vocabulary.get(text) for text in ("<|im_end|>", "<|eot_id|>"))]
    stop = tuple(dict.fromkeys(t for t in stops if t is not None))
    begin = token("bos") if said.get("add_bos_token", pre == "llama-bpe") else None
    if begin is not None:  # which only tokenizer.json can say
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=[tokens[begin], "$A"], special_tokens=[(tokens[begin], begin)]
        )
    template = settings.get("tokenizer.chat_template")
    template = template if isinstance(template, str) else None
    named = {f"{theirs}_token": token(name) for name, theirs in HF_SPECIAL.items()}
    config = {name: tokens[i] for name, i in named.items() if i is not None}
    files = {  # as a folder would say it
        "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config}, indent=2),
        "generation_config.json": json.dumps({"bos_token_id": token("bos"), "eos_token_id": list(stop)}, indent=2),
    }
    if template is not None:
        files["chat_template.jinja"] = template
    return BPETokenizer(
        tokenizer,
        end_of_text=token("eos"),
        begin=begin,
        stop=stop,
        chat=chatml(template),
        files={name: content.encode() for name, content in files.items()},
    )
