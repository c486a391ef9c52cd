"""What the commands have in common: their parser, their arguments, and how these are checked."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import minilora as ml
from minilora.machine.backend import DEVICES


class Parser(argparse.ArgumentParser):
    """argparse with its errors on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_command(
    commands: Any, run: Callable[[argparse.Namespace], None], help: str, example: str, name: str | None = None
) -> Parser:
    """A command among `commands` (argparse's subparsers), by default named after its function: `run_NAME`."""
    added = commands.add_parser(
        name or run.__name__.removeprefix("run_"),
        help=help,
        description=help,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(run=run)
    return added


def add_base(p: Parser) -> None:
    p.add_argument(
        "--base",
        type=Path,
        metavar="FILE",
        help="a model file or a Hugging Face GPT-2 folder (default: the shipped base)",
    )


def add_device(p: Parser) -> None:
    p.add_argument("--device", choices=DEVICES, default="cpu", help="gpu: CuPy on an NVIDIA GPU (default: cpu)")


def add_seed_and_workers(p: Parser) -> None:
    p.add_argument("--seed", type=seed, default=0, help="same seed and workers, same numbers (default: 0)")
    p.add_argument("--workers", type=positive_int, default=2, help="threads (default: 2)")


def positive_int(text: str) -> int:
    return checked_number(int, text, "a whole number of at least 1", lambda value: value >= 1)


def positive_float(text: str) -> float:
    return checked_number(float, text, "a finite number above 0", lambda value: 0 < value < float("inf"))


def seed(text: str) -> int:
    return checked_number(int, text, "a whole number of at least 0", lambda value: value >= 0)


def checked_number(kind: Callable[[str], Any], text: str, expected: str, fits: Callable[[Any], bool]) -> Any:
    with contextlib.suppress(ValueError):
        if fits(value := kind(text)):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")


def check_out(out: Path, *inputs: Path | None) -> None:
    """ValueError before the work begins, rather than after it, if `out` cannot be written or is an input."""
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file in it")
    if out.exists() and not out.is_file():  # it would be replaced, as root even /dev/null
        raise ValueError(f"--out {out} is a device or a pipe: name a plain file")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.absolute().parent}: make it first")
    for path in inputs:
        if path is not None and path.exists() and out.exists() and out.samefile(path):
            raise ValueError(f"--out {out} is a file that this command reads: choose another name")


def load_base(path: Path | None) -> tuple[ml.GPT, Any]:
    """(model, tokenizer): the shipped base, a model file, which speaks bytes, or a Hugging Face GPT-2 folder.

    ValueError if the folder has no tokenizer.
    """
    if path is None:
        return ml.load_base()
    if not path.is_dir():
        return ml.load_model(path), ml.ByteTokenizer()
    from minilora.hf import load_gpt2

    model, tokenizer = load_gpt2(path)
    if tokenizer is None:
        raise ValueError(f"{path} has no tokenizer: put GPT-2's tokenizer.json, or vocab.json and merges.txt, into it")
    return model, tokenizer
