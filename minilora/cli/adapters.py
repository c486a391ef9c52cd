"""`minilora adapters list | merge | sum | compress | verify`: commands for adapter files.

Each prints a table for people or, with `--json`, one JSON value for programs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minilora.adapters.arithmetic import compress, weighted_sum
from minilora.adapters.bank import AdapterBank
from minilora.cli.arguments import Commands, Parser, add_base, add_command, add_group, add_out, positive_int
from minilora.cli.files import check_out, load_base, put_into, size, write_merged
from minilora.files.adapter import Adapter, read_adapter, write_adapter

Rows = list[dict[str, Any]]


def add_commands(commands: Commands) -> None:
    """Add `adapters` and its actions to the command line's subparsers."""
    actions = add_group(commands, "adapters", "list, merge, add, compress and verify adapter files", "ACTION")

    def action(run: Callable[[argparse.Namespace], None], help: str, example: str) -> Parser:
        added = add_command(actions, run, help, f"minilora adapters {example}")
        added.add_argument("--json", action="store_true", help="print one JSON value, for programs")
        return added

    p = action(run_list, "describe the adapter files in a folder", "list adapters/")
    p.add_argument("folder", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="default: this one")

    help = "write a base and the sum of adapters as one plain model"
    p = action(run_merge, help, "merge fr.npz --out french.npz")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE", help="adapters; a child after its parent")
    add_base(p)
    add_out(p, "the merged model: a file, or a folder if --base is a folder", "PATH")

    help = "write a weighted sum of adapters as one adapter"
    p = action(run_sum, help, "sum a.npz b.npz --weights 0.7,0.3 --out ab.npz")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE", help="adapters of one base")
    p.add_argument("--weights", type=numbers, metavar="W,W,...", help="one for each adapter (default: all 1)")
    add_out(p, "the sum, of rank r1 + r2 + ...")

    p = action(run_compress, "write the closest adapter of a smaller rank", "compress ab.npz --r 4 --out small.npz")
    p.add_argument("file", type=Path, metavar="FILE", help="an adapter")
    p.add_argument("--r", type=positive_int, required=True, metavar="RANK", help="the new rank")
    add_out(p, "the smaller adapter")

    help = "check that files are intact and, with --base, made for that base"
    p = action(run_verify, help, "verify a.npz b.npz")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE", help="adapters; with --base a child after its parent")
    p.add_argument("--base", type=Path, metavar="PATH", help="the base they should be made for (default: any)")


def numbers(text: str) -> list[float]:
    """ "0.7,0.3" -> [0.7, 0.3]."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.7,0.3") from None


# -------------------------------------------------------------------------------------------- the actions


def run_list(a: argparse.Namespace) -> None:
    if a.folder.is_file():
        raise ValueError(f"{a.folder} is a file: give the folder that holds it, or run  minilora info {a.folder}")
    paths = sorted(a.folder.glob("*.npz"))
    if not paths:
        raise ValueError(f"{a.folder} holds no .npz files: give the folder with your adapters")
    print_rows([described(path) for path in paths], a.json)


def run_merge(a: argparse.Namespace) -> None:
    write_merged(a.base, a.files, a.out)
    print_rows([{"model": str(a.out), "bytes": size(a.out), "adapters": [str(path) for path in a.files]}], a.json)


def run_sum(a: argparse.Namespace) -> None:
    check_out(a.out, *a.files)
    weights = a.weights or [1.0] * len(a.files)
    write_adapter(weighted_sum([read_adapter(path) for path in a.files], weights), a.out)
    print_rows([described(a.out)], a.json)


def run_compress(a: argparse.Namespace) -> None:
    check_out(a.out, a.file)
    adapter = read_adapter(a.file)
    smaller, lost = compress(adapter, a.r)
    write_adapter(smaller, a.out)
    rows = [
        {
            "layer": path,
            "rank": adapter.lora.rank(path),
            "new rank": layer.rank,
            "lost": layer.error,
            "of": layer.norm,
            "ratio": layer.error / layer.norm if layer.norm else 0.0,
        }
        for path, layer in lost.items()
    ]
    print_rows(rows, a.json)


def run_verify(a: argparse.Namespace) -> None:
    bank = None if a.base is None else AdapterBank(load_base(a.base)[0])
    rows = [verified(path, bank) for path in a.files]
    print_rows(rows, a.json)
    if bad := sum(row["state"] != "ok" for row in rows):
        raise ValueError(f"{bad} of {len(rows)} files are refused")


# -------------------------------------------------------------------------------------------- what is printed


def described(path: Path) -> dict[str, Any]:
    """One row of `list`; for a file that is refused, the reason instead of its numbers."""
    try:
        adapter = read_adapter(path)
    except (OSError, ValueError) as error:
        return {"file": path.name, "state": str(error)}
    return {"file": path.name, "state": "ok", **properties(adapter)}


def properties(adapter: Adapter) -> dict[str, Any]:
    return {
        "r": adapter.lora.r,
        "alpha": adapter.lora.lora_alpha,
        "targets": sorted({path.rpartition(".")[2] for path in adapter.paths}),
        "layers": len(adapter.paths),
        "parameters": sum(array.size for array in adapter.tensors.values()),
        "bytes": adapter.nbytes,
        "dtype": adapter.config.dtype,
        "parent": adapter.parent,
        "trained on": adapter.base_sha256[:12],
    }


def verified(path: Path, bank: AdapterBank | None) -> dict[str, Any]:
    """One row of `verify`."""
    try:
        adapter = read_adapter(path)
        if bank is not None:
            put_into(bank, adapter)
    except (OSError, ValueError) as error:
        return {"file": str(path), "state": str(error)}
    return {"file": str(path), "state": "ok", "sha256": adapter.sha256}


def print_rows(rows: Rows, as_json: bool) -> None:
    """Print rows as JSON, or as a table with one column per key."""
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns] + [[cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
