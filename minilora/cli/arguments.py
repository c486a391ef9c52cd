"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from minilora.lora import LoraConfig
from minilora.machine.backend import DEVICES

N = TypeVar("N", int, float)


class Parser(argparse.ArgumentParser):
    """argparse with its errors on one line, and values that begin with a dash: `--weights -0.5,1`, `--prompt "-x"`."""

    def _print_message(self, message: str, file: Any = None) -> None:
        """As Python does it from 3.11 on: help that cannot be written is no traceback."""
        with contextlib.suppress(OSError):
            super()._print_message(message, file)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Join a value to its option where argparse would take it for an option that nobody has defined."""
        rest, joined = list(sys.argv[1:] if args is None else args), list[str]()
        options = self._option_string_actions
        while rest:
            joined.append(rest.pop(0))
            action = options.get(joined[-1])
            if joined[-1] == "--":
                joined += rest
                break
            takes_one = action is not None and action.nargs is None and joined[-1].startswith("--")
            if takes_one and rest and rest[0].startswith("-") and rest[0].partition("=")[0] not in (*options, "--"):
                joined[-1] += f"={rest.pop(0)}"
        return super().parse_known_args(joined, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # what `add_subparsers` returns


def add_command(
    commands: Commands, run: Callable[[argparse.Namespace], None], help: str, example: str, name: str | None = None
) -> Parser:
    """Add a command to `commands` (argparse's subparsers), by default named after its function, `run_NAME`."""
    added = commands.add_parser(
        name or run.__name__.removeprefix("run_"),
        help=help,
        description=help,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(run=run)
    return added


def add_group(commands: Commands, name: str, help: str, metavar: str) -> Commands:
    """Add a command that has commands of its own; returns their subparsers."""
    return commands.add_parser(name, help=help, description=help).add_subparsers(required=True, metavar=metavar)


def add_base(p: Parser) -> None:
    help = "a model file, a GPT-2 or Llama-type folder, a .gguf file or a wheel with one (default: the shipped base)"
    p.add_argument("--base", type=Path, metavar="PATH", help=help)


def add_quantized(p: Parser) -> None:
    help = "keep a Llama-type base in 4 bits: as NF4, or as a .gguf file stores it"
    p.add_argument("--quantized", choices=("nf4", "stored"), help=help)


def add_adapter(p: Parser, required: bool = True) -> None:
    help = "a LoRA from `minilora train`" + ("" if required else " (default: none)")
    p.add_argument("--adapter", type=Path, required=required, metavar="FILE", help=help)


def add_variant(p: Parser) -> None:
    """The options of `train` that choose a successor of LoRA."""
    p.add_argument("--variant", choices=list(LoraConfig.variants), default="lora", help="what to train (default: lora)")
    help = "LoRA+: train every B (and every vector) at RATIO times the rate, such as 16"
    p.add_argument("--lora-plus", type=positive_float, metavar="RATIO", help=help)


def lora_config(a: argparse.Namespace) -> LoraConfig:
    """The LoRA or variant that `train` was asked for; alpha is r unless given.  ValueError if the variant has none."""
    kind = LoraConfig.variants[a.variant]
    settings = {"r": a.r, "target_modules": a.targets}
    if a.alpha is not None or a.variant != "vera":  # which has no alpha
        settings["lora_alpha"] = a.r if a.alpha is None else a.alpha
    return kind(**settings)


def add_out(p: Parser, help: str, metavar: str = "FILE") -> None:
    p.add_argument("--out", type=Path, required=True, metavar=metavar, help=help)


def add_device(p: Parser) -> None:
    help = "gpu: CuPy on an NVIDIA GPU (default: cpu)"
    p.add_argument("--device", type=device, default="cpu", metavar="{cpu,gpu}", help=help)


def add_seed_and_threads(p: Parser) -> None:
    p.add_argument("--seed", type=seed, default=0, help="same seed and threads, same numbers (default: 0)")
    help = "threads that split each batch (default: %(default)s)"
    p.add_argument("--threads", "--workers", dest="workers", type=positive_int, default=2, metavar="N", help=help)


def positive_int(text: str) -> int:
    return checked_number(int, text, "a whole number of at least 1", lambda value: value >= 1)


def positive_float(text: str) -> float:
    return checked_number(float, text, "a finite number above 0", lambda value: 0 < value < float("inf"))


def device(text: str) -> str:
    """The array library for a device, as `model.to` takes it."""
    if text not in DEVICES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a device: choose {' or '.join(DEVICES)}")
    return DEVICES[text]


def words(text: str) -> tuple[str, ...]:
    """ "q_proj, v_proj" -> ("q_proj", "v_proj")."""
    found = tuple(part.strip() for part in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names such as q_proj,v_proj")
    return found


def utf8(text: str) -> str:
    """The text itself, if the shell passed UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text.encode('ascii', 'backslashreplace')!r} is not UTF-8 text") from None
    return text


def seed(text: str) -> int:
    return checked_number(int, text, "a whole number of at least 0", lambda value: value >= 0)


def checked_number(kind: Callable[[str], N], text: str, expected: str, fits: Callable[[N], bool]) -> N:
    with contextlib.suppress(ValueError):
        if fits(value := kind(text)):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
