"""The real E2E data (Novikova et al. 2017, CC BY-SA 4.0): none of it is here, a folder holds it.

All pairs of train.csv are for training. Of the meanings of valid.csv, 43 are the development test: they were drawn with
seed 0 and are listed below by their hashes; the others choose learning rates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora.tasks import PROMPT_END, Example
from minilora.tasks.e2e import example, read, read_split
from minilora.tasks.jsonl import encode_record

# SHA-256 of each meaning of the development test, its first 12 digits.
HASHES = """
18088e2db294 cb6f03194276 62a4ab890594 a78ea08ddf27 17c594da42cb be5b25b1afe5 ff05af046f34 fa204e2009d4 1ab202a72655
0ead1bc04818 9d9c78974650 de9da1a7ba19 b2852bf058db 77dfeeac2880 f582940bab33 b7da253266e9 9660030ea5bf 3e17f4320ca9
3b157043a074 72710ee325af f680f7925743 a332696514f1 1d31d1002f94 dee732fb850a abbf46d2a6ec de5cc2c8c97c e7cd5b66ab2d
4bb7e967cf58 cffb1009769b 3d54712563d5 43442854b550 16d605d01fc9 6329ce43c0e3 a77080c4b898 facfc789fec0 bcb325f31593
49a0c85bfe6d e897b1d775ba 38b41eb49e3a 637cc4b1083c c0391a087b2a 19c7f0cf5a95 0b12e5a3575f
"""
DEVELOPMENT_TEST = frozenset(HASHES.split())
RATE_MEANINGS, RATE_SENTENCES = 40, 3  # what choosing a rate looks at: meanings, and sentences of each
FETCH = (
    "`minilora reproduce real` needs the E2E files, which are not part of minilora (CC BY-SA 4.0): fetch trainset.csv "
    "and devset.csv of the E2E NLG Challenge, from github.com/tuetschek/e2e-dataset, and give their folder with --data"
)


class Pair(NamedTuple):
    """A meaning and one sentence about it."""

    mr: str
    sentence: str


@dataclass(frozen=True)
class RealData:
    """train: N examples are its first N.  rates: pairs whose loss chooses learning rates.  test: meanings, each with
    all its sentences.  digests: short hashes of (train and rates, test), which a run's config names."""

    train: list[Pair]
    rates: list[Pair]
    test: list[Example]
    digests: tuple[str, str]


def load(folder: Path | None, test_file: Path | None = None, meanings: int | None = None) -> RealData:
    """The E2E files in a folder; the test meanings from another file if one is given; at most `meanings` of the
    meanings that test and that choose rates.

    ValueError if there is no folder, a file is missing, or a meaning to test on is one to train on.
    """
    if folder is None:
        raise ValueError(FETCH)
    if not folder.is_dir():
        raise ValueError(f"--data {folder} is no folder. {FETCH}")
    pairs = [Pair(mr, ref) for mr, refs in read_split(folder, "train") for ref in refs]
    train = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    valid = read_split(folder, "valid")
    held_out = [(mr, refs) for mr, refs in valid if digest(mr) in DEVELOPMENT_TEST]
    others = [(mr, refs) for mr, refs in valid if digest(mr) not in DEVELOPMENT_TEST][:RATE_MEANINGS]
    tested = read(test_file) if test_file else held_out
    if not tested or not others:
        raise ValueError(f"{folder}: the valid file lacks the development test's meanings: give --test FILE")
    if both := {mr for mr, _ in tested} & {pair.mr for pair in train}:
        raise ValueError(f"{len(both)} meanings to test on are also in the training file, such as {min(both)!r:.60}")
    rates = [Pair(mr, ref) for mr, refs in others[:meanings] for ref in refs[:RATE_SENTENCES]]
    test = [example(mr, refs) for mr, refs in tested[:meanings]]
    return RealData(train, rates, test, (digest(train, rates), digest([(ex.prompt, ex.references) for ex in test])))


def digest(*parts: Any) -> str:
    """Twelve digits of a hash: of one text, or of data structures of texts."""
    text = parts[0] if isinstance(parts[0], str) else repr(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# ------------------------------------------------------------------------------------------------ as tokens


class Prompting(NamedTuple):
    """What stands in front of a meaning: `shots` examples; in the model's own chat format, or in ours."""

    chat: bool = False
    shots: int = 0


PLAIN = Prompting()
REQUEST = "Write one or two sentences that tell a guest about this restaurant: "


def encode(pair: Pair, tokenizer: Any, prompting: Prompting = PLAIN, shots: Sequence[Pair] = ()) -> Any:
    """tokens (T,) and weights (T,), 1 on the sentence and the token that ends it.

    In our own format it is the record that `minilora data e2e` writes: a word begins with its space.
    """
    if prompting.chat:
        turns = [(REQUEST + mr, sentence) for mr, sentence in (*shots, pair)]
        messages = [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        tokens, weights = encode_record({"messages": messages}, tokenizer)
        return tokens, weights * (np.arange(len(tokens)) >= _last_stretch(weights))
    before = "".join(f"{mr}\n{PROMPT_END} {sentence}\n\n" for mr, sentence in shots)
    record = {"prompt": f"{before}{pair.mr}\n{PROMPT_END}", "completion": f" {pair.sentence}"}
    return encode_record(record, tokenizer)


def _last_stretch(weights: np.ndarray) -> int:
    """Where the last run of ones begins."""
    return int(np.flatnonzero(np.diff(weights, prepend=0) > 0)[-1])
