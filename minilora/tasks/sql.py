"""Natural language to SQL: a table's columns and a question in, the query out, scored by what it returns.

    boats(price, owner, age, size)
    show the owner of boats with price above 40?
    -> SELECT owner FROM boats WHERE price > 40

As in WikiSQL (Zhong et al. 2017), a query has one table, one column or aggregate, and up to two conditions, and no
schema (a table's name with its columns) is in two splits. An answer is right by execution if it returns the same as the
true query, and right by logical form if it is the true query, up to the order of conditions. Each table's rows are
generated so that the true query's conditions matter. Generated SQL runs on a database in memory that only allows
reading, and for a limited time.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

from minilora.tasks.baselines import copy_prompt, of_another
from minilora.tasks.task import PROMPT_END, SPLITS, Example, Scores, Task, disjoint, pick

TABLES = """actors apples bikes birds boats books bottles boxes bridges buses cakes camps cars cats chairs cities clubs
coats cows desks doors farms films fish flags games gardens gifts guests horses hotels houses islands jobs keys lakes
lamps maps meals mines museums nurses ovens parks phones pianos planes plants players rivers roads rooms schools ships
shoes shops songs stamps tents towns toys trains trees trips tunnels visits walls wines zoos"""
WORDS = {  # columns of text, and their values
    "colour": ("red", "blue", "green", "black", "white"),
    "country": ("France", "Spain", "Kenya", "Japan", "Peru"),
    "owner": ("Anna", "Ben", "Clara", "David", "Emma"),
    "size": ("small", "medium", "large", "tiny", "huge"),
    "state": ("new", "used", "broken", "sold", "lost"),
    "city": ("Oslo", "Rome", "Cairo", "Lima", "Delhi"),
}
NUMBERS = {  # columns of numbers, and their own words for "above" and "below"
    "price": ("dearer than", "cheaper than"),
    "age": ("older than", "younger than"),
    "weight": ("heavier than", "lighter than"),
    "height": ("taller than", "shorter than"),
    "speed": ("faster than", "slower than"),
    "score": ("better than", "worse than"),
}
AGGREGATES = {"MAX": ("highest",), "MIN": ("lowest",), "AVG": ("average", "mean"), "SUM": ("total",)}
ROWS = 8


class Table(NamedTuple):
    """A table's name, its columns, and its rows."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


Schema = tuple[str, tuple[str, str], tuple[str, str]]  # name, columns of text, columns of numbers


class Query(NamedTuple):
    """SELECT column FROM table WHERE conditions; the column may be inside an aggregate, or the rows counted."""

    aggregate: str  # "", COUNT, MAX, MIN, AVG, SUM
    column: str  # "*" for COUNT
    table: str
    conditions: frozenset[tuple[str, str, str]]  # (column, operator, value as it is written in SQL)


def load(seed: int, train: int, valid: int, test: int) -> Task:
    """`train`, `valid` and `test` questions."""
    rng = np.random.default_rng(seed)
    schemas = list(product(TABLES.split(), combinations(WORDS, 2), combinations(NUMBERS, 2)))
    pools = zip(disjoint(rng, schemas), (train, valid, test), strict=True)
    splits = [_split(rng, pool, count) for pool, count in pools]
    return Task(
        "sql",
        **dict(zip(SPLITS, splits, strict=True)),
        metrics=("execution", "logical_form"),
        scorer=score,
        guesses={"chance": random_query, "another": of_another, "copy": copy_prompt},
    )


def score(examples: Sequence[Example], answers: Sequence[str]) -> Scores:
    """The share of answers that return the same as the true query, and the share that are the true query."""
    executed = same = 0
    for example, text in zip(examples, answers, strict=True):
        table = example.meta["table"]
        executed += execute(table, text) == execute(table, example.answer)
        same += parse(text) == parse(example.answer)
    return {"execution": executed / len(examples), "logical_form": same / len(examples)}


# ----------------------------------------------------------------------------------------------- execution

MAX_STEPS = 100_000  # of SQLite's virtual machine; a true query takes a few hundred
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}
FUNCTIONS = {"count", "max", "min", "avg", "sum"}


def execute(table: Table, query: str) -> Counter[tuple[Any, ...]] | None:
    """What the query returns, as a multiset of rows (without ORDER BY, SQL promises no order); None if it fails.

    The table is new and in memory, so there is nothing to damage. After it is filled, SQLite may only read columns and
    call the five aggregates, and stops after MAX_STEPS steps: no writing, no other function, no recursion, no endless
    product of tables.
    """
    database = sqlite3.connect(":memory:")
    try:
        columns = ", ".join(f"{name} {'TEXT' if name in WORDS else 'INTEGER'}" for name in table.columns)
        database.execute(f"CREATE TABLE {table.name} ({columns})")
        marks = ", ".join("?" * len(table.columns))
        database.executemany(f"INSERT INTO {table.name} VALUES ({marks})", table.rows)
        database.commit()
        database.set_authorizer(_only_reading)
        database.set_progress_handler(lambda: 1, MAX_STEPS)
        return Counter(database.execute(query).fetchall())
    except (sqlite3.Error, sqlite3.Warning, ValueError):  # not a query, two queries, or a zero byte
        return None
    finally:
        database.close()


def _only_reading(action: int, what: str | None, name: str | None, *_: str | None) -> int:
    allowed = action in ALLOWED or (action == sqlite3.SQLITE_FUNCTION and name in FUNCTIONS)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


CONDITION = r"(\w+) ?(=|<|>) ?('[^']*'|\d+)"
QUERY = re.compile(
    r"SELECT (?:(COUNT|MAX|MIN|AVG|SUM) ?\( ?(\w+|\*) ?\)|(\w+)) "
    rf"FROM (\w+)(?: WHERE ({CONDITION}(?: AND {CONDITION})*))?",
    re.IGNORECASE,
)


def parse(text: str) -> Query | None:
    """A query of the task's own form, whatever its spaces and the case of its words; None for any other text."""
    found = QUERY.fullmatch(" ".join(text.split()))
    if found is None:
        return None
    aggregate, inner, column, table, where = found.group(1, 2, 3, 4, 5)
    conditions = frozenset((name.lower(), sign, value) for name, sign, value in re.findall(CONDITION, where or ""))
    return Query((aggregate or "").upper(), (inner or column).lower(), table.lower(), conditions)


def write(query: Query) -> str:
    """The query as SQL, its conditions in order of their columns."""
    column = f"{query.aggregate}({query.column})" if query.aggregate else query.column
    where = " AND ".join(" ".join(condition) for condition in sorted(query.conditions))
    return f"SELECT {column} FROM {query.table}" + (f" WHERE {where}" if where else "")


# --------------------------------------------------------------------------------------------- generation


def _split(rng: np.random.Generator, schemas: list[Schema], count: int) -> list[Example]:
    found: dict[str, Example] = {}
    while len(found) < count:
        table = _table(rng, *schemas[rng.integers(len(schemas))])
        query, question = _question(rng, table)
        answer = write(query)
        if not _tells_apart(table, answer):
            continue
        prompt = f"{table.name}({', '.join(table.columns)})\n{question}?\n{PROMPT_END}"
        found[prompt] = Example(prompt, answer, (answer,), {"table": table})
    return list(found.values())


def _table(rng: np.random.Generator, name: str, words: tuple[str, str], numbers: tuple[str, str]) -> Table:
    """A table with two columns of text and two of numbers, in any order, and ROWS rows."""
    columns = tuple(str(column) for column in rng.permutation([*words, *numbers]))

    def value(column: str) -> str | int:
        return pick(rng, WORDS[column]) if column in WORDS else int(rng.integers(1, 100))

    return Table(name, columns, [tuple(value(column) for column in columns) for _ in range(ROWS)])


def _question(rng: np.random.Generator, table: Table) -> tuple[Query, str]:
    """A query and a question that asks for it."""
    words = [column for column in table.columns if column in WORDS]
    numbers = [column for column in table.columns if column in NUMBERS]
    kind = rng.integers(3)
    if kind == 0:
        column = pick(rng, table.columns)
        aggregate = ""
        question = pick(rng, (f"what is the {column} of {table.name}", f"show the {column} of {table.name}"))
    elif kind == 1:
        aggregate, column = "COUNT", "*"
        question = pick(rng, (f"how many {table.name} are there", f"count the {table.name}"))
    else:
        aggregate, column = pick(rng, tuple(AGGREGATES)), pick(rng, numbers)
        question = f"what is the {pick(rng, AGGREGATES[aggregate])} {column} of {table.name}"
    rest = [name for name in words + numbers if name != column]
    chosen = rng.choice(rest, size=rng.integers(1, 3), replace=False)
    conditions, phrases = zip(*(_condition(rng, table, str(name)) for name in chosen), strict=True)
    return Query(aggregate, column, table.name, frozenset(conditions)), f"{question} {' and '.join(phrases)}"


def _condition(rng: np.random.Generator, table: Table, column: str) -> tuple[tuple[str, str, str], str]:
    """A condition on the column, with a value that some row has, and a phrase for it."""
    value = table.rows[rng.integers(ROWS)][table.columns.index(column)]
    if column in WORDS:
        return (column, "=", f"'{value}'"), pick(rng, (f"with {column} {value}", f"with {value} as {column}"))
    more, less = NUMBERS[column]
    if rng.random() < 0.5:
        return (column, ">", str(value)), pick(rng, (f"with {column} above {value}", f"{more} {value}"))
    return (column, "<", str(value)), pick(rng, (f"with {column} below {value}", f"{less} {value}"))


def _tells_apart(table: Table, query: str) -> bool:
    """Whether the query returns something, and not the same as without its last condition, or without all of them."""
    result = execute(table, query)
    shorter = query.rpartition(" AND ")[0] or query.partition(" WHERE ")[0]
    nothing = result in (Counter(), Counter({(None,): 1}), Counter({(0,): 1}))
    return not nothing and result not in (execute(table, shorter), execute(table, query.partition(" WHERE ")[0]))


def random_query(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """A random query on the same table: the score of knowing the schema but not the question."""
    rng = np.random.default_rng(0)
    return [write(_question(rng, example.meta["table"])[0]) for example in test]
