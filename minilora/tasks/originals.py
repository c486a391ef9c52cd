"""The published data sets' own files, for whoever has them: as pairs of a prompt and an answer, in our tasks' format.

    task  data set                          file                                     prompt -> answer
    e2e   E2E NLG (Novikova et al. 2017)    train.csv or trainset.csv                slots and values -> a sentence
    sql   WikiSQL (Zhong et al. 2017)       train.jsonl with train.tables.jsonl      columns and a question -> SQL
    summ  SAMSum (Gliwa et al. 2019)        train.json                               a dialogue -> its summary
    nli   MultiNLI (Williams et al. 2018)   multinli_1.0_train.jsonl                 two sentences -> a label

Nothing here was run on the last three: their files are not part of minilora.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minilora.tasks import e2e
from minilora.tasks.task import PROMPT_END

Pair = tuple[str, str]  # prompt, answer

AGGREGATES, OPERATORS = ("", "MAX", "MIN", "COUNT", "SUM", "AVG"), ("=", ">", "<")  # WikiSQL's numbers for them


def read(task: str, folder: Path) -> list[Pair]:
    """Every training pair in the folder.  ValueError if a file is missing or is not of its data set."""
    try:
        return list(READERS[task](folder))
    except FileNotFoundError as error:
        raise ValueError(f"{folder} has no {Path(error.filename).name}: give the folder of the data set") from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{folder} does not hold the data set that {task} stands for ({error})") from None


def _e2e(folder: Path) -> Iterator[Pair]:
    for mr, sentences in e2e.read_split(folder, "train"):
        yield from ((f"{mr}\n{PROMPT_END}", sentence) for sentence in sentences)


def _wikisql(folder: Path) -> Iterator[Pair]:
    columns = {table["id"]: table["header"] for table in _lines(folder / "train.tables.jsonl")}
    for entry in _lines(folder / "train.jsonl"):
        header, query = columns[entry["table_id"]], entry["sql"]
        aggregate, column = AGGREGATES[query["agg"]], header[query["sel"]]
        conditions = [f"{header[at]} {OPERATORS[sign]} {_literal(value)}" for at, sign, value in query["conds"]]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        answer = f"SELECT {f'{aggregate}({column})' if aggregate else column} FROM table{where}"
        yield f"table({', '.join(header)})\n{entry['question']}\n{PROMPT_END}", answer


def _literal(value: Any) -> str:
    """A number as it is; a text in quotes, a quote in it doubled."""
    return str(value) if isinstance(value, (int, float)) else "'" + value.replace("'", "''") + "'"


def _samsum(folder: Path) -> Iterator[Pair]:
    for entry in json.loads((folder / "train.json").read_text(encoding="utf-8")):
        dialogue = "\n".join(entry["dialogue"].splitlines())
        yield f"{dialogue}\n{PROMPT_END}", entry["summary"].strip()


def _multinli(folder: Path) -> Iterator[Pair]:
    for entry in _lines(folder / "multinli_1.0_train.jsonl"):
        if entry["gold_label"] != "-":  # the annotators did not agree
            yield f"{entry['sentence1'].strip()}\n{entry['sentence2'].strip()}\n{PROMPT_END}", entry["gold_label"]


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


READERS: dict[str, Callable[[Path], Iterator[Pair]]] = {
    "e2e": _e2e,
    "sql": _wikisql,
    "summ": _samsum,
    "nli": _multinli,
}
