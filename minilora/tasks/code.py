"""Documentation to source: the body of a function in Python's standard library, from its signature and docstring.

The text is real, from the Python that runs this: other releases have other functions. No module is in two splits, and
no body appears twice. A body can be written in too many right ways to score one by comparison with another. So the
result is the loss, `evaluate(model, TaskData(task.test))`, in nats per byte of body.
"""

from __future__ import annotations

import ast
import math
import sysconfig
import textwrap
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minilora.tasks.task import END, MAX_BYTES, PROMPT_END, Example, Scores, Task

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "turtledemo", "encodings", "pydoc_data"}


class CodeTask(Task):
    """A task whose generated text has no score."""

    def baselines(self) -> dict[str, Scores]:
        """Nats per byte of the test split's bodies if all bytes are equally likely; if their probabilities are their
        frequencies in training; and by copying, as DEFLATE compresses a body with the prompt as its dictionary."""
        return {
            "chance": {"nats_per_byte": math.log(256)},
            "byte frequencies": {"nats_per_byte": _by_frequency(self.train, self.test)},
            "copy": {"nats_per_byte": _by_copying(self.test)},
        }


def load(seed: int, train: int, valid: int, test: int) -> Task:
    """Up to `train`, `valid` and `test` functions, each split from its own modules.

    RuntimeError if this Python was installed without its sources.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")]) if path.parent.name not in SKIPPED]
    if not paths:
        raise RuntimeError(f"this Python has no standard-library sources in {folder}: use a CPython that ships them")
    rng = np.random.default_rng(seed)
    order = iter([paths[i] for i in rng.permutation(len(paths))])
    seen: set[str] = set()
    found = {name: _take(order, count, seen) for name, count in (("test", test), ("valid", valid), ("train", train))}
    if empty := [name for name, examples in found.items() if not examples]:
        raise ValueError(f"the standard library has no functions left for {' and '.join(empty)}: ask for fewer")
    return CodeTask("code", **found, metrics=("nats_per_byte",), scorer=_no_score, guesses={})


def _take(order: Iterator[Path], count: int, seen: set[str]) -> list[Example]:
    """The first `count` functions with new bodies, from the next modules."""
    examples: list[Example] = []
    while len(examples) < count and (path := next(order, None)) is not None:
        for example in functions(path.read_text(encoding="utf-8", errors="replace")):
            unmarked = PROMPT_END not in example.prompt[:-1]
            if unmarked and example.answer not in seen and len(example) <= MAX_BYTES:
                seen.add(example.answer)
                examples.append(example)
    return examples[:count]


def functions(source: str) -> Iterator[Example]:
    """Every function that has a docstring and then a body, as it is written, without its indentation."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a template, or written for another Python
        return
    lines = source.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
            first, last = node.body[0].end_lineno or 0, node.body[-1].end_lineno or 0
            text = textwrap.dedent("\n".join(lines[node.lineno - 1 : last]))
            head = "\n".join(text.split("\n")[: first - node.lineno + 1]) + "\n"
            body = text[len(head) :]
            if text.startswith("def ") and node.body[1].lineno > first:
                yield Example(head + PROMPT_END, body, (body,), {"name": node.name})


def _no_score(examples: Sequence[Example], answers: Sequence[str]) -> Scores:
    raise ValueError("the code task does not score generated text: its result is evaluate(model, TaskData(task.test))")


def _bodies(examples: Sequence[Example]) -> list[bytes]:
    return [(example.answer + END).encode() for example in examples]


def _by_frequency(train: Sequence[Example], test: Sequence[Example]) -> float:
    """-log p(byte), where p is the byte's share of the training bodies, each of the 256 bytes counted once more."""
    counts = Counter(b"".join(_bodies(train)))
    total = counts.total() + 256
    text = b"".join(_bodies(test))
    return -sum(math.log((counts[byte] + 1) / total) for byte in text) / len(text)


def _by_copying(test: Sequence[Example]) -> float:
    """Compressed size over size, in nats per byte."""
    bits = size = 0
    for example, body in zip(test, _bodies(test), strict=True):
        deflate = zlib.compressobj(level=9, wbits=-15, zdict=example.prompt.encode())
        bits += 8 * len(deflate.compress(body) + deflate.flush())
        size += len(body)
    return bits * math.log(2) / size
