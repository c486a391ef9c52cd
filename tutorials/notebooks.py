"""Runs lessons as notebooks: `05_lora.py` becomes `05_lora.ipynb`, which code hosts show with all its output.

    pip install -e ".[notebooks]"
    python -m tutorials.notebooks          # all lessons, in order
    python -m tutorials.notebooks 05 07    # these

The .py file is the source; never edit the notebook. The lessons' figures are in the notebooks, and in `figures/` for
the pages that link to them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LARGEST = 900_000  # bytes of a notebook with its figures


def lessons(numbers: list[str]) -> list[Path]:
    """The lessons with these numbers, or all of them.  ValueError if one does not exist."""
    every = {path.name[:2]: path for path in sorted(HERE.glob("[0-9][0-9]_*.py"))}
    if unknown := [number for number in numbers if number not in every]:
        raise ValueError(f"there is no lesson {unknown[0]}: choose from {', '.join(every)}")
    return [every[number] for number in numbers or every]


def make(lesson: Path) -> Path:
    """Run a lesson as a notebook and write it.  Only measured times differ from one run to the next."""
    import jupytext
    import nbclient
    import nbformat

    notebook = jupytext.read(lesson)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"  # by default, ids are random
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    os.environ["MINILORA_FIGURES"] = "figures"  # the kernel inherits it, see `plots.show_figure`
    resources = {"metadata": {"path": str(HERE)}}
    client = nbclient.NotebookClient(notebook, timeout=1800, resources=resources, record_timing=False)
    client.coalesce_streams = True  # one output for all that a cell prints
    client.execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}  # the kernel added its version
    for cell in notebook.cells:
        if "outputs" in cell:  # stderr has progress, and warnings that name this computer's folders
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    text = nbformat.writes(notebook) + "\n"
    if len(text) > LARGEST:
        raise ValueError(f"{lesson.name} makes a notebook of {len(text):,} bytes: print less, the limit is {LARGEST:,}")
    path = lesson.with_suffix(".ipynb")
    path.write_text(text, encoding="utf-8")
    return path


def main(numbers: list[str]) -> None:
    for lesson in lessons(numbers):
        started = time.perf_counter()
        path = make(lesson)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, ImportError) as error:
        cure = 'install it with: pip install -e ".[notebooks]"' if isinstance(error, ImportError) else ""
        print(f"{error} {cure}".strip(), file=sys.stderr)
        sys.exit(2)
