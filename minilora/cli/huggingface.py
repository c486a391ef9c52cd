"""What the command line owes Hugging Face: `minilora export gpt2|peft`, `import peft`, and `--base FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import minilora as ml
from minilora.cli.arguments import add_base, add_command, load_base


def add_commands(commands: Any) -> None:
    """Add `export` and `import` to the command line's subparsers."""
    help = "write what Hugging Face's transformers and PEFT read"
    export = commands.add_parser("export", help=help, description=help).add_subparsers(required=True, metavar="FORMAT")

    p = add_command(
        export,
        run_export_gpt2,
        "a base as a GPT-2 folder (config.json, model.safetensors) that transformers loads",
        "minilora export gpt2 --out base-gpt2",
        name="gpt2",
    )
    add_base(p)
    p.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")

    p = add_command(
        export,
        run_export_peft,
        "a LoRA as an adapter folder that peft.PeftModel.from_pretrained loads on the same base",
        "minilora export peft --base gpt2 --adapter a.npz --out a-peft",
        name="peft",
    )
    add_base(p)
    p.add_argument("--adapter", type=Path, required=True, metavar="FILE", help="a LoRA from `minilora train`")
    p.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")

    help = "read what Hugging Face's PEFT writes"
    import_ = commands.add_parser("import", help=help, description=help).add_subparsers(required=True, metavar="FORMAT")
    p = add_command(
        import_,
        run_import_peft,
        "a PEFT adapter folder as a LoRA file for `minilora generate`",
        "minilora import peft --base gpt2 --adapter a-peft --out a.npz",
        name="peft",
    )
    add_base(p)
    p.add_argument("--adapter", type=Path, required=True, metavar="FOLDER", help="where PEFT saved it")
    p.add_argument("--out", type=Path, required=True, metavar="FILE", help="the LoRA, NAME.npz")


def run_export_gpt2(a: argparse.Namespace) -> None:
    write_gpt2(*load_base(a.base), a.out)


def write_gpt2(model: ml.GPT, tokenizer: Any, out: Path) -> None:
    """Write a GPT-2 folder and say so.  Of the tokenizers, bytes need no file."""
    from minilora.hf import BPETokenizer, save_gpt2

    save_gpt2(model, out, tokenizer if isinstance(tokenizer, BPETokenizer) else None)
    print(f"wrote {out} ({_size(out):,} bytes): transformers.GPT2LMHeadModel.from_pretrained({str(out)!r})")


def run_export_peft(a: argparse.Namespace) -> None:
    from minilora.hf import save_peft_adapter

    model = ml.load_adapter(load_base(a.base)[0], a.adapter)
    save_peft_adapter(model, a.out, base_model=None if a.base is None else str(a.base))
    print(f"wrote {a.out} ({_size(a.out):,} bytes): peft.PeftModel.from_pretrained(base, {str(a.out)!r})")


def run_import_peft(a: argparse.Namespace) -> None:
    from minilora.hf import load_peft_adapter

    model = load_peft_adapter(load_base(a.base)[0], a.adapter)
    ml.save_adapter(model, a.out)
    print(ml.trainable_report(model))
    print(f"wrote {a.out} ({a.out.stat().st_size:,} bytes)")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
