"""Each lesson as an executed notebook, `05_lora.ipynb` beside `05_lora.py`: to be read on a code host, nothing to run.

    pip install -e ".[notebooks]"
    python -m tutorials.notebooks          # all lessons, in order
    python -m tutorials.notebooks 05 07    # these

The .py file is the source. A notebook is made from it, run in this folder, and never edited.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LARGEST = 400_000  # bytes of a notebook: its figures are files beside it, so that it holds text alone


def lessons(numbers: list[str]) -> list[Path]:
    """The lessons with these numbers, or all.  ValueError if one does not exist."""
    every = {path.name[:2]: path for path in sorted(HERE.glob("[0-9][0-9]_*.py"))}
    if unknown := [number for number in numbers if number not in every]:
        raise ValueError(f"there is no lesson {unknown[0]}: these are {', '.join(every)}")
    return [every[number] for number in numbers or every]


def make(lesson: Path) -> Path:
    """Run a lesson as a notebook and write it.  Equal lessons give equal files but for what they measure in seconds."""
    import jupytext
    import nbclient
    import nbformat

    notebook = jupytext.read(lesson)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"  # not drawn at random
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    os.environ["MINILORA_FIGURES"] = "figures"  # the kernel inherits it: figures go where the notebook links to them
    resources = {"metadata": {"path": str(HERE)}}
    client = nbclient.NotebookClient(notebook, timeout=1800, resources=resources, record_timing=False)
    client.coalesce_streams = True  # what a cell prints is one output
    client.execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}  # the kernel added its version
    for cell in notebook.cells:
        if "outputs" in cell:  # progress and warnings name this computer's folders
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    text = nbformat.writes(notebook) + "\n"
    if len(text) > LARGEST:
        raise ValueError(f"{lesson.name} gives a notebook of {len(text):,} bytes: print less, {LARGEST:,} are the most")
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
