"""`python -m tests.benchmarks`: run the sections, print a table each, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.sections import SECTIONS, Rows


def markdown(rows: Rows) -> str:
    """Rows as a Markdown table."""
    columns = list(rows[0])

    def cell(value: Any) -> str:
        return (
            f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else "" if value is None else _plain(value)
        )

    lines = [columns, ["---"] * len(columns)] + [[cell(row[c]) for c in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Speed and memory of minilora, as ratios within one run.",
        epilog="example: python -m tests.benchmarks --only train,generation --json speed.json",
    )
    parser.add_argument("--only", help=f"comma-separated sections out of {', '.join(SECTIONS)}")
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each group of candidates (default 6)")
    parser.add_argument("--json", type=Path, help="write the rows, versions and machine to this file")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"{unknown[0]!r} is no section: choose from {', '.join(SECTIONS)}")
    report: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows = SECTIONS[name](args.seconds)
        report[name] = rows
        print(f"\n## {name}\n\n{(SECTIONS[name].__doc__ or '').strip()}\n\n{markdown(rows)}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
