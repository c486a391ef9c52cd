"""Run sections, print one table per section, write JSON: shared by the benchmarks."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
Section = Callable[[float], Rows]  # seconds to spend -> rows; its name and docstring go above the table


def markdown(rows: Rows) -> str:
    """Rows as a Markdown table."""
    columns = list(rows[0])

    lines = [columns, ["---"] * len(columns)] + [[_cell(row[c]) for c in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.3g}"
    return "" if value is None else f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def main(module: str, functions: Sequence[Section], description: str) -> None:
    """The command line of `python -m MODULE`."""
    sections = {function.__name__: function for function in functions}
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"example: python -m {module} --only {next(iter(sections))} --json results.json",
    )
    parser.add_argument("--only", help=f"comma-separated sections out of {', '.join(sections)}")
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each group of candidates (default 6)")
    parser.add_argument("--json", type=Path, help="write the rows, versions and machine to this file")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(sections)
    if unknown := [name for name in names if name not in sections]:
        parser.error(f"{unknown[0]!r} is no section: choose from {', '.join(sections)}")
    report: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    tables = [f"`python -m {module}`: Python {report['python']}, NumPy {report['numpy']}, {report['cores']} cores."]
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        report[name] = sections[name](args.seconds)
        tables.append(f"## {name}\n\n{inspect.cleandoc(sections[name].__doc__ or '')}\n\n{markdown(report[name])}")
        print(f"\n{tables[-1]}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.markdown:
        args.markdown.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
