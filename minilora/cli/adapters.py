"""The command line of adapter files: `minilora adapters list | merge | sum | compress | verify`.

Each prints a table for people, or with `--json` one JSON value for programs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minilora.adapters.arithmetic import compress, weighted_sum
from minilora.adapters.bank import AdapterBank
from minilora.cli.arguments import Parser, add_base, add_command, check_out, load_base, positive_int
from minilora.files.adapter import Adapter, read_adapter, write_adapter
from minilora.files.model import save_model

Rows = list[dict[str, Any]]


def add_commands(commands: Any) -> None:
    """Add `adapters` and its actions to the subparsers of `minilora`."""
    help = "list, merge, add up, compress and verify adapter files"
    actions = commands.add_parser("adapters", help=help, description=help).add_subparsers(
        required=True, metavar="ACTION"
    )

    def action(run: Callable[[argparse.Namespace], None], help: str, example: str) -> Parser:
        added = add_command(actions, run, help, f"minilora adapters {example}")
        added.add_argument("--json", action="store_true", help="one JSON value on stdout, for programs")
        return added

    p = action(run_list, "what the adapter files in a folder are", "list adapters/")
    p.add_argument("folder", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="default: this one")

    p = action(run_merge, "a base and the sum of adapters as one plain model", "merge fr.npz --out french.npz")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE", help="adapters; a child after its parent")
    add_base(p)
    add_out(p, "the merged model")

    p = action(run_sum, "a weighted sum of adapters as one adapter", "sum a.npz b.npz --weights 0.7,0.3 --out ab.npz")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE", help="adapters of one base")
    p.add_argument("--weights", type=numbers, metavar="W,W,...", help="one for each adapter (default: all 1)")
    add_out(p, "the sum, of rank r1 + r2 + ...")

    p = action(run_compress, "the closest adapter of a smaller rank", "compress ab.npz --r 4 --out small.npz")
    p.add_argument("file", type=Path, metavar="FILE", help="an adapter")
    p.add_argument("--r", type=positive_int, required=True, metavar="RANK", help="the rank to come down to")
    add_out(p, "the smaller adapter")

    p = action(run_verify, "whether files are whole, and with --base whether they belong to it", "verify a.npz b.npz")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE", help="adapters; with --base a child after its parent")
    p.add_argument("--base", type=Path, metavar="FILE", help="the model that they should belong to (default: any)")


def add_out(p: Parser, help: str) -> None:
    p.add_argument("--out", type=Path, required=True, metavar="FILE", help=help)


def numbers(text: str) -> list[float]:
    """ "0.7,0.3" -> [0.7, 0.3]."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.7,0.3") from None


# -------------------------------------------------------------------------------------------- the actions


def run_list(a: argparse.Namespace) -> None:
    if a.folder.is_file():
        raise ValueError(
            f"{a.folder} is a file: name the folder that it is in, or see it with  minilora info {a.folder}"
        )
    paths = sorted(a.folder.glob("*.npz"))
    if not paths:
        raise ValueError(f"{a.folder} holds no .npz files: name the folder that your adapters are in")
    report([described(path) for path in paths], a.json)


def run_merge(a: argparse.Namespace) -> None:
    check_out(a.out, *a.files, a.base)
    bank = AdapterBank(load_base(a.base)[0])
    for path in a.files:
        bank.load_adapter(path.stem, path)
    save_model(bank.merged_copy(*(path.stem for path in a.files)), a.out)
    report([{"model": str(a.out), "bytes": a.out.stat().st_size, "adapters": [str(path) for path in a.files]}], a.json)


def run_sum(a: argparse.Namespace) -> None:
    check_out(a.out, *a.files)
    weights = a.weights or [1.0] * len(a.files)
    write_adapter(weighted_sum([read_adapter(path) for path in a.files], weights), a.out)
    report([described(a.out)], a.json)


def run_compress(a: argparse.Namespace) -> None:
    check_out(a.out, a.file)
    adapter = read_adapter(a.file)
    smaller, lost = compress(adapter, a.r)
    write_adapter(smaller, a.out)
    report(
        [
            {
                "layer": path,
                "rank": adapter.lora.rank(path),
                "new rank": layer.rank,
                "lost": layer.error,
                "of": layer.norm,
                "ratio": layer.error / layer.norm if layer.norm else 0.0,
            }
            for path, layer in lost.items()
        ],
        a.json,
    )


def run_verify(a: argparse.Namespace) -> None:
    bank = None if a.base is None else AdapterBank(load_base(a.base)[0])
    rows = [verified(path, bank) for path in a.files]
    report(rows, a.json)
    if bad := sum(row["state"] != "ok" for row in rows):
        raise ValueError(f"{bad} of {len(rows)} files are refused")


# -------------------------------------------------------------------------------------------- what is printed


def described(path: Path) -> dict[str, Any]:
    """One row of `list`; a file that is refused says why, in the place of its numbers."""
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
            bank.insert(path.stem, adapter)
    except (OSError, ValueError) as error:
        return {"file": str(path), "state": str(error)}
    return {"file": str(path), "state": "ok", "sha256": adapter.sha256}


def report(rows: Rows, as_json: bool) -> None:
    """Print rows as JSON, or as a table with a column for each key."""
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
