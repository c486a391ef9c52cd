"""A lesson's training losses: its notebook with a recorder in front, for the browser, and the same notebook run here.

python -m tests.browser.losses 05_lora.ipynb                      # the losses and seconds of the whole lesson
python -m tests.browser.losses 05_lora.ipynb --first 20 --wide    # of 20 steps, computed in float64
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import minilora as ml
from tutorials.browser import lite

RECORDER = '''
import sys

import minilora as ml

_losses, _last = [], [0.0]


def _recorded(function):
    """loss_and_grads, whose loss is noted if Adam then takes a step."""

    def noted(*args, **kwargs):
        loss, grads = function(*args, **kwargs)
        _last[0] = float(loss)
        return loss, grads

    return noted


def _step(self, *args, _step=ml.Adam.step, **kwargs):
    _losses.append(_last[0])
    return _step(self, *args, **kwargs)


_plain = ml.loss_and_grads
for _module in list(sys.modules.values()):
    if getattr(_module, "__dict__", {}).get("loss_and_grads") is _plain:
        _module.loss_and_grads = _recorded(_plain)
ml.Adam.step = _step
'''
OWN = "def loss_and_grads("  # a lesson's own


def instrumented(file: str) -> dict[str, Any]:
    """A lesson as the site has it, with the recorder in its first code cell and the losses as its last output."""
    book: dict[str, Any] = json.loads(lite.notebook(lite.TUTORIALS / file))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for cell in code:
        cell["source"], cell["outputs"] = "".join(cell["source"]), []
        if OWN in cell["source"]:
            cell["source"] += "\nloss_and_grads = _recorded(loss_and_grads)\n"
    code[0]["source"] += RECORDER
    code[-1]["source"] += "\nprint('losses:', _losses)\n"
    return book


def losses_in(book: dict[str, Any]) -> list[float]:
    """What the last cell of an instrumented notebook has printed."""
    last = [cell for cell in book["cells"] if cell["cell_type"] == "code"][-1]
    text = "".join("".join(out["text"]) for out in last["outputs"] if out["output_type"] == "stream")
    return list(json.loads(text.rpartition("losses: ")[2]))


class Enough(BaseException):
    """Enough steps have been recorded."""


def run_here(file: str, first: int, wide: bool) -> list[float]:
    """The losses of a lesson, or the first so many, computed here by native Python.

    `wide`: in float64, with no assertion, for some are about float32.
    """
    _, *cells = [cell["source"] for cell in instrumented(file)["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {"__name__": "lesson"}
    if wide:
        cells = [cell.replace("float32", "float64") for cell in cells]
        ml.load_base = partial(_wide_base, ml.load_base)
    exec(RECORDER, names)  # without the browser's products
    losses: list[float] = names["_losses"]
    recorded_step = ml.Adam.step

    def step(self: Any, *args: Any) -> None:
        if len(losses) == first > 0:
            raise Enough
        recorded_step(self, *args)

    ml.Adam.step = step  # type: ignore[method-assign]
    try:
        for i, cell in enumerate(cells, 1):
            exec(compile(cell, f"{file}, cell {i}", "exec", optimize=1 if wide else 0), names)
    except Enough:
        pass
    return losses


def _wide_base(load_base: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """The base in float64, and its tokenizer."""
    model, tokenizer = load_base(*args)
    exact = ml.GPT(ml.GPTConfig(**{**vars(model.config), "dtype": "float64"}))
    exact.load_state_dict(model.state_dict())
    return exact, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--first", type=int, default=0, help="so many steps only")
    parser.add_argument("--wide", action="store_true", help="in float64")
    a = parser.parse_args()
    start = time.perf_counter()
    losses = run_here(a.file, a.first, a.wide)
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time(), "losses": losses}))


if __name__ == "__main__":
    main()
