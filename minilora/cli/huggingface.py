"""`minilora export gpt2`, `export peft` and `import peft`: files that Hugging Face's libraries read and write."""

from __future__ import annotations

import argparse
from pathlib import Path

import minilora as ml
from minilora.cli.arguments import Commands, add_adapter, add_base, add_command, add_group, add_out
from minilora.cli.files import check_out, check_out_folder, load_base, write_folder, wrote


def add_commands(commands: Commands) -> None:
    """Add `export` and `import` to the command line's subparsers."""
    export = add_group(commands, "export", "write files for Hugging Face's transformers and PEFT", "FORMAT")
    help = "write a base as a GPT-2 folder (config.json, model.safetensors) that transformers loads"
    p = add_command(export, run_export_gpt2, help, "minilora export gpt2 --out base-gpt2", "gpt2")
    add_base(p)
    add_out(p, "a new folder", "FOLDER")
    help = "write a LoRA as an adapter folder that peft.PeftModel.from_pretrained loads on the same base"
    example = "minilora export peft --base gpt2 --adapter a.npz --out a-peft"
    p = add_command(export, run_export_peft, help, example, "peft")
    add_base(p)
    add_adapter(p)
    add_out(p, "a new folder", "FOLDER")

    import_ = add_group(commands, "import", "read files that Hugging Face's PEFT writes", "FORMAT")
    help = "turn a PEFT adapter folder into a LoRA file for `minilora generate`"
    example = "minilora import peft --base gpt2 --adapter a-peft --out a.npz"
    p = add_command(import_, run_import_peft, help, example, "peft")
    add_base(p)
    p.add_argument("--adapter", type=Path, required=True, metavar="FOLDER", help="the folder that PEFT saved")
    add_out(p, "the LoRA, NAME.npz")


def run_export_gpt2(a: argparse.Namespace) -> None:
    check_out_folder(a.out, a.base)
    write_folder(*load_base(a.base), a.out)
    print(wrote(a.out, f"transformers.GPT2LMHeadModel.from_pretrained({str(a.out)!r})"))


def run_export_peft(a: argparse.Namespace) -> None:
    from minilora.hf import save_peft_adapter

    check_out_folder(a.out, a.base)
    model = ml.load_adapter(load_base(a.base)[0], a.adapter)
    save_peft_adapter(model, a.out, base_model=None if a.base is None else str(a.base))
    print(wrote(a.out, f"peft.PeftModel.from_pretrained(base, {str(a.out)!r})"))


def run_import_peft(a: argparse.Namespace) -> None:
    from minilora.hf import load_peft_adapter

    check_out(a.out, a.base)
    model = load_peft_adapter(load_base(a.base)[0], a.adapter)
    ml.save_adapter(model, a.out)
    print(ml.trainable_report(model))
    print(wrote(a.out))
