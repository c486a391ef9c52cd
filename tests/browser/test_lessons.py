"""The lessons in JupyterLite: lesson 1 to its last cell; with -m slow, every lesson that can run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.losses import instrumented, losses_in
from tutorials.browser import lite

RUNNABLE = [lesson["file"] for lesson in lite.lessons() if lesson["number"] not in lite.CANNOT]
FIRST, SPREAD = 20, 0.02  # losses that are equal up to rounding, and how far a later one may be off, as a part of it


def run_lesson(open_page: Any, file: str, minutes: int = 30) -> dict[str, Any]:
    """Open a lesson, put the recorder of its losses into it, run all its cells: the notebook as it is then."""
    page = open_page(f"lite/notebooks/index.html?path={file}", viewport={"width": 1200, "height": 900})
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady", timeout=120_000)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate(
        """(book) => {
            const panel = window.jupyterapp.shell.currentWidget;
            panel.content.model.sharedModel.fromJSON(book);
            window.ended = undefined;
            window.jupyterapp.commands.execute("notebook:run-all-cells").then(() => { window.ended = true; });
        }""",
        instrumented(file),
    )
    page.wait_for_function("window.ended", timeout=60_000 * minutes)
    book = page.evaluate("window.jupyterapp.shell.currentWidget.context.model.toJSON()")
    if folder := os.environ.get("MINILORA_SCREENSHOTS"):
        page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.at(-2).node.scrollIntoView()")
        page.screenshot(path=Path(folder) / f"lesson-{file[:2]}.png")
    page.close()
    return book


def ran_to_its_end(book: dict[str, Any]) -> None:
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    errors = [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    assert errors == [] and [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert "fast products: True" in json.dumps(code[0]["outputs"])
    assert any("image/png" in out.get("data", {}) for cell in code for out in cell["outputs"]), "it draws its figure"
    assert "is missing: make it with" not in json.dumps(book), "it finds the stored results"


def losses_here(file: str, *options: str) -> np.ndarray:
    command = [sys.executable, "-m", "tests.browser.losses", file, *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1])["losses"])


def test_lesson_1_runs_to_its_last_cell(open_page):
    ran_to_its_end(run_lesson(open_page, RUNNABLE[0], minutes=5))


@pytest.mark.slow
@pytest.mark.parametrize("file", RUNNABLE[1:])
def test_every_lesson_runs_to_its_last_cell_and_trains_as_it_does_here(open_page, file):
    """Every assertion holds; the losses of the first steps are those of this computer up to rounding, which a run in
    float64 measures; the later ones, to which rounding has spread, within SPREAD of it."""
    book = run_lesson(open_page, file)
    ran_to_its_end(book)
    there, here, exact = losses_in(book), losses_here(file), losses_here(file, "--wide", f"--first={FIRST}")
    assert len(there) == len(here)
    off = np.abs(there - here)
    if len(here):
        rounding = max(np.abs(here[:FIRST] - exact).max(), np.finfo(np.float32).eps * exact.max())
        print(f"{file}: {len(here)} losses, rounding {rounding:.1e}, off by {off[:FIRST].max():.1e}, ", end="")
        print(f"later by up to {(off / here).max():.1e} of the loss")
        assert (off[:FIRST] <= 4 * rounding).all()
    assert (off <= SPREAD * here).all()
