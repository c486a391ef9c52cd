"""The lessons in JupyterLite: lesson 1 to its last cell; with -m slow, every lesson that can run there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tutorials.browser import lite

RUNNABLE = [lesson["file"] for lesson in lite.lessons() if lesson["number"] not in lite.CANNOT]
MINUTES = {"01": 3}  # others: half an hour


def run_lesson(open_page: Any, file: str) -> dict[str, Any]:
    """Open a lesson, run all its cells: the notebook as it is then."""
    page = open_page(f"lite/notebooks/index.html?path={file}", viewport={"width": 1200, "height": 900})
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady", timeout=120_000)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate(
        """() => {
            const panel = window.jupyterapp.shell.currentWidget;
            window.ended = undefined;
            window.jupyterapp.commands.execute("notebook:run-all-cells").then(() => { window.ended = true; });
        }"""
    )
    page.wait_for_function("window.ended", timeout=60_000 * MINUTES.get(file[:2], 30))
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


def test_lesson_1_runs_to_its_last_cell(open_page):
    ran_to_its_end(run_lesson(open_page, RUNNABLE[0]))


@pytest.mark.slow
@pytest.mark.parametrize("file", RUNNABLE[1:])
def test_every_lesson_runs_to_its_last_cell(open_page, file):
    ran_to_its_end(run_lesson(open_page, file))
