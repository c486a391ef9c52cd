"""The commands for models: `demo`, `train`, `generate`, `merge`, `info` and `pretrain`."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from functools import partial
from pathlib import Path

import minilora as ml
from minilora.analysis import reduced_bytes_line
from minilora.cli.arguments import (
    Commands,
    add_adapter,
    add_base,
    add_command,
    add_device,
    add_out,
    add_quantized,
    add_seed_and_threads,
    add_variant,
    lora_config,
    positive_float,
    positive_int,
    seed,
    utf8,
    words,
)
from minilora.cli.files import check_out, load_base, write_merged, wrote
from minilora.cli.language_models import add_examples, curve, fit, train_on_examples
from minilora.demo import QUICK, Size, demo
from minilora.files.container import read_file
from minilora.files.header import config_of
from minilora.files.model import BASE_PATH
from minilora.machine import processes
from minilora.pretrain import pretrain
from minilora.text import read_text, split

DATA_MINIMUM = 100  # tokens: a tenth is held out, which must still hold a few targets


def add_commands(commands: Commands) -> None:
    """Add the six commands to the command line's subparsers."""
    command = partial(add_command, commands)

    help = "measure LoRA's claims on real text (about a minute on two cores)"
    p = command(run_demo, help, "minilora demo --out demo.png")
    help = "the figure, a PNG (default: %(default)s)"
    p.add_argument("--out", type=Path, default=Path("minilora-demo.png"), metavar="FILE", help=help)
    p.add_argument("--quick", action="store_true", help="only a few steps, to see that it runs; ignore the numbers")
    add_seed_and_threads(p)
    add_device(p)

    help = "train a LoRA on your own UTF-8 text, or on examples, one JSON object per line"
    p = command(run_train, help, "minilora train --data README.md --steps 50 --out a.npz")
    help = "UTF-8 text, its last tenth held out; or NAME.jsonl: a prompt and completion, or messages, on each line"
    p.add_argument("--data", type=Path, required=True, metavar="FILE", help=help)
    p.add_argument("--out", type=Path, default=Path("adapter.npz"), metavar="FILE", help="default: adapter.npz")
    add_base(p)
    p.add_argument("--steps", type=positive_int, help="default: 300; with .jsonl, once through the examples")
    p.add_argument("--r", type=positive_int, default=4, help="rank of the update (default: 4)")
    p.add_argument("--alpha", type=float, help="the update is scaled by alpha / r (default: r)")
    add_variant(p)
    help = "layers to adapt (default: %(default)s)"
    p.add_argument("--targets", type=words, default="q_proj,k_proj,v_proj,o_proj", metavar="NAME,NAME,...", help=help)
    p.add_argument("--lr", type=positive_float, help="peak learning rate (default: 0.01; with .jsonl, 0.001)")
    p.add_argument("--batch-size", type=positive_int, help="windows or examples per step (default: 16; with .jsonl, 8)")
    help = "tokens per window; the shipped base's tokens are bytes (default: 128)"
    p.add_argument("--block-size", type=positive_int, default=128, help=help)
    add_examples(p)
    p.add_argument("--mpi", action="store_true", help="split each batch over processes: mpirun -n 2 minilora train ...")
    add_seed_and_threads(p)
    add_device(p)

    p = command(run_generate, "continue a prompt", 'minilora generate --adapter a.npz --prompt "The "')
    p.add_argument("--prompt", type=utf8, required=True, metavar="TEXT", help="the text to continue")
    add_adapter(p, required=False)
    add_base(p)
    add_quantized(p)
    help = "write at most this many tokens; the shipped base's are bytes (default: 200)"
    p.add_argument("--tokens", "--bytes", type=positive_int, default=200, metavar="N", help=help)
    p.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token (default: 0.8)")
    p.add_argument("--top-k", type=positive_int, default=40, help="sample from the K likeliest tokens (default: 40)")
    p.add_argument("--seed", type=seed, default=0, help="same seed, same text (default: 0)")
    add_device(p)

    p = command(
        run_merge,
        "write base and adapter as one plain model, W = W0 + (alpha/r) B A",
        "minilora merge --adapter a.npz --out merged.npz",
    )
    add_adapter(p)
    add_base(p)
    add_out(p, "the merged model: a file, or a folder if --base is a folder, .gguf or wheel", "PATH")

    p = command(run_info, "show the contents of a model, adapter or training state", "minilora info a.npz")
    p.add_argument("file", type=Path, nargs="?", default=BASE_PATH, metavar="FILE", help="default: the shipped base")

    p = command(
        run_pretrain, "make the shipped base again, and a card for it", "minilora pretrain --out base.npz --threads 2"
    )
    add_out(p, "the model, NAME.npz; the card is NAME.md")
    p.add_argument("--steps", type=positive_int, help="at most this many steps in each stage, to try it (default: all)")
    p.add_argument("--resume", action="store_true", help="continue a run that was interrupted")
    add_seed_and_threads(p)


def run_demo(a: argparse.Namespace) -> None:
    check_out(a.out)
    demo(QUICK if a.quick else Size(), a.seed, a.workers, a.out, device=a.device)


def run_train(a: argparse.Namespace) -> None:
    if a.data.suffix == ".jsonl":
        if a.mpi:
            raise ValueError("--mpi splits batches of text: train on .jsonl without it")
        return train_on_examples(a)
    if not a.mpi:
        return train(a)
    comm = processes.world()
    try:
        with contextlib.redirect_stdout(sys.stdout if comm.rank == 0 else io.StringIO()):
            train(a, comm)
    except Exception as error:  # abort them all: the other processes would wait for this one forever
        print(f"minilora: error: process {comm.rank}: {one_line(error)}", file=sys.stderr, flush=True)
        comm.Abort(2)


def train(a: argparse.Namespace, comm: processes.Comm | None = None) -> None:
    """Train and save; with `comm`, an MPI communicator, its processes split each batch."""
    check_out(a.out, a.data, a.base)
    text = read_text(a.data)
    model, tokenizer = load_base(a.base, a.quantized)
    model.to(a.device)
    tokens = tokenizer.encode(text)
    if len(tokens) < DATA_MINIMUM:
        raise ValueError(
            f"{a.data} holds {len(tokens)} {tokenizer.unit}s: give at least {DATA_MINIMUM}, as a tenth is held out"
        )
    if a.block_size > model.max_tokens:
        raise ValueError(f"--block-size {a.block_size} is more than the base's {model.max_tokens}")
    a.steps, a.lr, a.batch_size = a.steps or 300, a.lr or 1e-2, a.batch_size or 16
    training, held_out = (ml.TextData(part, a.block_size) for part in split(tokens))
    ml.add_lora(model, lora_config(a), a.seed)
    print(ml.trainable_report(model), flush=True)
    if comm is not None:
        print(reduced_bytes_line(model, comm.size), flush=True)
    run = fit(model, training, held_out, a, looks=5, comm=comm)
    if comm is not None and comm.rank:
        return
    ml.save_adapter(model, a.out)
    print(f"held-out loss, nats per {tokenizer.unit}: {curve(run)}")
    print(wrote(a.out))


def run_generate(a: argparse.Namespace) -> None:
    model, tokenizer = load_base(a.base, a.quantized)
    model.to(a.device)
    if a.adapter is not None:
        ml.load_adapter(model, a.adapter)
    tokens = ml.generate(
        model,
        tokenizer.encode(a.prompt),
        a.tokens,
        temperature=a.temperature,
        top_k=a.top_k,
        stop=getattr(tokenizer, "stop", ()) or None,
        seed=a.seed,
    )
    ended = tokens[-1] in getattr(tokenizer, "stop", ())
    print(tokenizer.decode(tokens[:-1] if ended else tokens))


def run_merge(a: argparse.Namespace) -> None:
    write_merged(a.base, [a.adapter], a.out)
    print(wrote(a.out, f"a plain model, use it with --base {a.out}"))


def run_info(a: argparse.Namespace) -> None:
    header, tensors = read_file(a.file, allow_nonfinite=True)
    print(f"{a.file}: {header['kind']}, {a.file.stat().st_size:,} bytes")
    if header["kind"] == "method":
        print(f"  method = {header['method']}")
    for key in ("config", "lora", "options"):
        for name, value in (header.get(key) or {}).items():
            print(f"  {key}.{name} = {value}")
    if "base_sha256" in header:
        print(f"  base_sha256 = {header['base_sha256']}")
    if header["kind"] == "model":
        print(f"  {ml.trainable_report(ml.load_model(a.file, allow_nonfinite=True))}")
    if header["kind"] in ("adapter", "method"):
        base = config_of(header).parameter_count
        size = sum(tensor.size for tensor in tensors.values())
        print(f"  {size:,} parameters, {size / base:.2%} of the base's {base:,}")
    print(f"{len(tensors)} tensors, {sum(t.nbytes for t in tensors.values()):,} bytes:")
    for name, tensor in tensors.items():
        print(f"  {name:<40}{tensor.dtype.name:<9}{tensor.shape}")


def run_pretrain(a: argparse.Namespace) -> None:
    check_out(a.out)
    if a.out.suffix != ".npz":
        raise ValueError(f"--out {a.out}: give a name that ends in .npz; the card gets the same name with .md")
    loss = pretrain(a.out, steps=a.steps, seed=a.seed, workers=a.workers, resume=a.resume)
    print(f"validation loss {loss:.4f} nats per byte\nwrote {a.out} and {a.out.with_suffix('.md')}")


def one_line(error: BaseException) -> str:
    """The error's message on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
