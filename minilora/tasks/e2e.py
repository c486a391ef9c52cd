"""Data to text: a restaurant's slots and values in, a sentence about it out (the E2E NLG challenge).

With a folder, it reads the folder's csv files with the columns `mr` and `ref` (Novikova et al. 2017), whole or in part.
Without one, it invents restaurants and describes each by rules, in four ways. No meaning is in two splits; nor is any
invented restaurant, so a model must copy the name from the prompt.

Scored as in the challenge, but without METEOR, whose stems and synonyms need WordNet: corpus BLEU in percent, NIST,
ROUGE-L and CIDEr, all on `metrics.tokenize`; and the slot error rate.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from minilora.files.container import as_path
from minilora.tasks.baselines import copy_prompt, of_another
from minilora.tasks.metrics import bleu, cider, nist, rouge_l, tokenize
from minilora.tasks.task import MAX_BYTES, PROMPT_END, SPLITS, Example, Scores, Task, disjoint

Meaning = dict[str, str]  # slot -> value

FILES = {
    "train": ("train.csv", "trainset.csv"),
    "valid": ("valid.csv", "devset.csv"),
    "test": ("test.csv", "testset_w_refs.csv"),
}

FIRST = """Amber Blue Copper Crooked Golden Green Hidden Ivory Jolly Little Merry Old Quiet Red Silver
Twisted"""
SECOND = """Anchor Barn Bell Cellar Compass Crown Fox Garden Kettle Lantern Mill Oven Parrot Spoon Tavern
Wagon"""
VALUES = {
    "food": ("Thai", "Greek", "Indian", "French", "Turkish", "Japanese", "Mexican", "Italian"),
    "price": ("cheap", "mid-priced", "expensive"),
    "area": ("old town", "city centre", "harbour", "riverside", "station quarter"),
    "rating": ("1 of 5", "3 of 5", "5 of 5"),
    "family": ("yes", "no"),
}


def load(seed: int, train: int, valid: int, test: int, folder: str | Path | None) -> Task:
    """`train` pairs of a meaning and one sentence; `valid` and `test` meanings, each with all its sentences."""
    meanings = _invented(seed, train, valid, test) if folder is None else _read_all(as_path(folder))
    rng = np.random.default_rng(seed)
    pairs = [example(mr, [ref]) for mr, refs in meanings[0] for ref in refs]
    splits = [pairs, *([example(mr, refs) for mr, refs in part] for part in meanings[1:])]
    kept = []
    for name, wanted, split in zip(SPLITS, (train, valid, test), splits, strict=True):
        fitting = [example for example in split if len(example) <= MAX_BYTES]
        if not fitting:
            raise ValueError(f"{folder}: no {name} example fits into {MAX_BYTES} bytes")
        kept.append([fitting[i] for i in rng.permutation(len(fitting))[:wanted]])
    values = slot_values(example.meta["meaning"] for split in kept for example in split)
    return Task(
        "e2e",
        **dict(zip(SPLITS, kept, strict=True)),
        metrics=("bleu", "nist", "rouge_l", "cider", "slot_error"),
        scorer=lambda examples, answers: score(examples, answers, values),
        guesses={"chance": of_another, "copy": copy_prompt, "first reference": _first_reference},
    )


def example(mr: str, references: list[str]) -> Example:
    return Example(f"{mr}\n{PROMPT_END}", references[0], tuple(references), {"meaning": parse(mr)})


def parse(mr: str) -> Meaning:
    """'name[The Punter], food[English]' -> {"name": "The Punter", "food": "English"}."""
    return {slot.strip(): value for slot, value in re.findall(r"([^,\[\]]+)\[([^\]]*)\]", mr)}


# ------------------------------------------------------------------------------------------- the csv files


def _read_all(folder: Path) -> list[list[tuple[str, list[str]]]]:
    """Train, valid and test; without a test file, every other meaning of valid is for testing."""
    found = {split: read_split(folder, split) for split in FILES}
    if not found["test"]:
        found["valid"], found["test"] = found["valid"][::2], found["valid"][1::2]
    return list(found.values())


def read_split(folder: Path, split: str) -> list[tuple[str, list[str]]]:
    """The meanings of one of FILES, [] for a missing test file.  ValueError if another one is missing."""
    paths = [folder / name for name in FILES[split] if (folder / name).is_file()]
    if not paths and split != "test":
        raise ValueError(f"{folder} has no {' or '.join(FILES[split])}: give the folder with the E2E csv files")
    return read(paths[0]) if paths else []


def read(path: Path) -> list[tuple[str, list[str]]]:
    """Each meaning in an E2E csv file with all its sentences.  ValueError if the column `mr` or `ref` is missing."""
    references = defaultdict(list)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"mr", "ref"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} has the columns {rows.fieldnames}: an E2E file has mr and ref")
        for row in rows:
            references[row["mr"].strip()].append(" ".join(row["ref"].split()))
    return list(references.items())


# ----------------------------------------------------------------------------------- invented restaurants


def _invented(seed: int, train: int, valid: int, test: int) -> list[list[tuple[str, list[str]]]]:
    rng = np.random.default_rng([seed, 1])
    names = [f"The {first} {second}" for first in FIRST.split() for second in SECOND.split()]
    wanted = (-(-train // len(PLANS)), valid, test)
    return [_describe(rng, pool, count) for pool, count in zip(disjoint(rng, names), wanted, strict=True)]


def _describe(rng: np.random.Generator, names: list[str], count: int) -> list[tuple[str, list[str]]]:
    """`count` different meanings, each with one sentence per plan, in random order."""
    found: dict[str, list[str]] = {}
    while len(found) < count:
        name, near = (names[i] for i in rng.choice(len(names), size=2, replace=False))
        offered = {slot: values[rng.integers(len(values))] for slot, values in VALUES.items()} | {"near": near}
        chosen = set(rng.choice(list(offered), size=rng.integers(2, 5), replace=False))
        meaning = {"name": name} | {slot: value for slot, value in offered.items() if slot in chosen}
        mr = ", ".join(f"{slot}[{value}]" for slot, value in meaning.items())
        found[mr] = [_described(meaning, PLANS[i]) for i in rng.permutation(len(PLANS))]
    return list(found.items())


def _kind(meaning: Meaning) -> str:
    words = f"{meaning.get('price', '')} {meaning.get('food', '')} restaurant".split()
    return f"{'an' if words[0][0] in 'aeiouAEIOU' else 'a'} {' '.join(words)}"


def _place(meaning: Meaning) -> str:
    area, near = meaning.get("area"), meaning.get("near")
    return " ".join(([f"in the {area}"] if area else []) + ([f"near {near}"] if near else []))


PLANS = (  # a sentence that names the restaurant, and the ones on its rating and on families: yes and no
    ("{name} is {kind} {place}.", "It is rated {}.", "It is good for families.", "It is not for families."),
    (
        "There is {kind} called {name} {place}.",
        "Its rating is {}.",
        "Children are welcome.",
        "Children are not welcome.",
    ),
    ("{place}, you find {name}, {kind}.", "Guests rate it {}.", "Families like it.", "It is for adults only."),
    ("{kind} {place} is {name}.", "It scores {}.", "It is family friendly.", "It is not family friendly."),
)


def _described(meaning: Meaning, plan: tuple[str, str, str, str]) -> str:
    opening, rating, yes, no = plan
    opening = opening.format(name=meaning["name"], kind=_kind(meaning), place=_place(meaning))
    opening = opening.removeprefix(", ").replace("  ", " ").replace(" .", ".")  # where there is no place
    said = [opening[0].upper() + opening[1:]]
    said += [rating.format(meaning["rating"])] if "rating" in meaning else []
    said += [{"yes": yes, "no": no}[meaning["family"]]] if "family" in meaning else []
    return " ".join(said)


# --------------------------------------------------------------------------------------------- the scores


def score(examples: Sequence[Example], answers: Sequence[str], values: dict[str, set[str]]) -> Scores:
    """BLEU in percent, NIST, ROUGE-L (beta = 1.2), CIDEr; and slot errors per slot, lower is better.

    `values` holds the values that each slot takes in the data.
    """
    candidates = [tokenize(text) for text in answers]
    references = [[tokenize(ref) for ref in example.references] for example in examples]
    pairs = list(zip(candidates, references, strict=True))
    errors = [slot_errors(ex.meta["meaning"], text, values) for ex, text in zip(examples, answers, strict=True)]
    return {
        "bleu": 100 * bleu(candidates, references),
        "nist": nist(candidates, references),
        "rouge_l": sum(rouge_l(candidate, refs, beta=1.2) for candidate, refs in pairs) / len(pairs),
        "cider": cider(candidates, references),
        "slot_error": sum(errors) / sum(len(example.meta["meaning"]) for example in examples),
    }


FAMILY = r"famil|child|kid"
NO = r"\b(no|not|non|isn't|aren't|don't|doesn't|never)\b"
NOT_FOR_FAMILIES = rf"{NO}.{{0,40}}({FAMILY})|({FAMILY}).{{0,20}}{NO}|adult|unfriendly"
CHEAP = r"cheap|inexpensive|affordable|low[- ]?(cost|price)|price.{0,12}low"
DEAR = r"expensive|pricey|upscale|high[- ]?(cost|price|end)|(price|pricing|cost).{0,16}high"
FAIR = r"moderate|mid-?(price|range)|average|reasonabl|medium"
EXPRESSED_AS = {  # (slot, value) -> a pattern for ways to express it; the default is the value as written
    ("food", "English"): r"english|british",
    ("area", "riverside"): r"river",
    ("area", "city centre"): r"(city|town)('s)? (centre|center)|cent(re|er) of|central",
    ("eatType", "coffee shop"): r"coffee|caf[eé]",
    ("priceRange", "cheap"): CHEAP,
    ("priceRange", "less than £20"): rf"(less than|under|below) £?20|{CHEAP}",
    ("priceRange", "moderate"): FAIR,
    ("priceRange", "£20-25"): rf"£?20\s?(-|to|and)\s?£?25|{FAIR}",
    ("priceRange", "high"): DEAR,
    ("priceRange", "more than £30"): rf"(more than|over|above) £?30|{DEAR}",
    ("customer rating", "low"): r"low|poor|bad|not (well|recommended)|(1|one)[- ](star|out)",
    ("customer rating", "average"): r"average|decent|moderate|mid|fair|ok|(3|three)[- ](star|out)",
    ("customer rating", "high"): r"high|excellent|great|well|(5|five)[- ](star|out)",
    ("customer rating", "1 out of 5"): r"(1|one)( stars?)? (out )?of (5|five)|(1|one)[- ]star|low|poor",
    ("customer rating", "3 out of 5"): r"(3|three)( stars?)? (out )?of (5|five)|(3|three)[- ]star|average",
    ("customer rating", "5 out of 5"): r"(5|five)( stars?)? (out )?of (5|five)|(5|five)[- ]star|high|excellent",
}


def expresses(text: str, slot: str, value: str) -> bool:
    """Whether the text gives the slot this value."""
    text = text.lower()
    if slot in ("family", "familyFriendly"):
        negated = re.search(NOT_FOR_FAMILIES, text) is not None
        return negated if value == "no" else re.search(FAMILY, text) is not None and not negated
    pattern = EXPRESSED_AS.get((slot, value), re.escape(value.lower()))
    return re.search(rf"(?<!\w)({pattern})", text) is not None


def slot_errors(meaning: Meaning, text: str, values: dict[str, set[str]]) -> int:
    """Slots that the text omits or gets wrong, and slots that it adds (Wen et al. 2015's p + q).

    A slot is added if the text, after its own values are taken out, expresses a value of a slot not in the meaning.
    """
    missing = sum(not expresses(text, slot, value) for slot, value in meaning.items())
    rest = text.lower()
    for value in sorted(meaning.values(), key=len, reverse=True):
        rest = rest.replace(value.lower(), "") if len(value) > 3 else rest
    unasked = values.keys() - meaning.keys()
    return missing + sum(any(expresses(rest, slot, value) for value in values[slot]) for slot in unasked)


def slot_values(meanings: Iterable[Meaning]) -> dict[str, set[str]]:
    """Slot -> the values it takes in these meanings."""
    values: dict[str, set[str]] = {}
    for meaning in meanings:
        for slot, value in meaning.items():
            values.setdefault(slot, set()).add(value)
    return values


def _first_reference(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """What a person wrote: its slot errors are mistakes of our rules."""
    return [example.references[0] for example in test]
