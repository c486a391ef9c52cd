"""The commands for real language models: `fetch`, `chat`, `data`, and `train` on a file of examples."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

import minilora as ml
from minilora import tasks
from minilora.cli.arguments import (
    Commands,
    Parser,
    add_adapter,
    add_base,
    add_command,
    add_out,
    add_quantized,
    lora_config,
    positive_int,
    seed,
    utf8,
)
from minilora.cli.files import check_out, load_base, wrote
from minilora.files.header import quantization
from minilora.machine.pieces import pieces_for
from minilora.machine.processes import Comm
from minilora.machine.progress import format_seconds
from minilora.methods import loraplus
from minilora.nn import Decoder, cache_bytes
from minilora.tasks import originals
from minilora.tasks.jsonl import Encoded, encode_records, read_jsonl
from minilora.text import Data, RowData


def add_commands(commands: Commands) -> None:
    """Add `fetch`, `chat` and `data` to the command line's subparsers."""
    help = "download a small language model with pip and check it"
    p = add_command(commands, run_fetch, help, "minilora fetch smollm2 --to models")
    p.add_argument("model", metavar="MODEL", help="smollm2: SmolLM2-135M-Instruct in 4 bits, 93 MB")
    p.add_argument("--to", type=Path, metavar="FOLDER", help="where to keep it (default: a cache folder)")

    p = add_command(commands, run_chat, "talk to a language model", "minilora chat --base models/*.whl")
    add_base(p)
    add_quantized(p)
    add_adapter(p, required=False)
    help = "the system message: who the model should be (default: the one in its template)"
    p.add_argument("--system", type=utf8, metavar="TEXT", help=help)
    help = "write at most this many tokens in an answer (default: 512)"
    p.add_argument("--tokens", type=positive_int, default=512, metavar="N", help=help)
    p.add_argument("--temperature", type=float, default=0.7, help="0 takes the likeliest token (default: 0.7)")
    p.add_argument("--top-k", type=positive_int, default=40, help="sample from the K likeliest tokens (default: 40)")
    p.add_argument("--seed", type=seed, default=0, help="same seed, same answers (default: 0)")

    p = add_command(
        commands,
        run_data,
        "write the training examples of a task as JSON lines, for `minilora train`",
        "minilora data e2e --examples 500 --out e2e.jsonl",
    )
    p.add_argument("task", choices=[name for name in tasks.TASKS if name != "code"], help="the task")
    p.add_argument("--examples", type=positive_int, default=500, metavar="N", help="at most this many (default: 500)")
    p.add_argument("--folder", type=Path, metavar="FOLDER", help="your copy of E2E, WikiSQL, SAMSum or MultiNLI")
    p.add_argument("--seed", type=seed, default=0, help="same seed, same examples (default: 0)")
    add_out(p, "the examples, NAME.jsonl")


def add_examples(p: Parser) -> None:
    """The options of `train` that only a file of examples has."""
    add_quantized(p)
    help = "cut examples to this many tokens (default: 512)"
    p.add_argument("--max-tokens", type=positive_int, default=512, metavar="N", help="with .jsonl: " + help)
    help = "with .jsonl: the share of the examples that is held out (default: 0.05)"
    p.add_argument("--validation", type=float, default=0.05, metavar="SHARE", help=help)


# ------------------------------------------------------------------------------------------------ fetch, chat, data


def run_fetch(a: argparse.Namespace) -> None:
    from minilora.hf.fetch import fetch

    path = fetch(a.model, a.to)
    print(f"{path} ({path.stat().st_size:,} bytes): minilora chat --base {path}")


def run_chat(a: argparse.Namespace) -> None:
    from minilora.hf.conversation import Conversation

    model, tokenizer = load_base(a.base or fetched(), a.quantized)
    if a.adapter is not None:
        ml.load_adapter(model, a.adapter)
    if getattr(tokenizer, "chat", None) is None:
        raise ValueError("this base was not tuned to chat (it has no ChatML template): use `minilora generate`")
    talk = Conversation(model, tokenizer, a.system, a.seed)
    print("Ctrl-D ends, /reset forgets what was said.", file=sys.stderr)
    for text in _lines():
        if text == "/reset":
            talk.reset()
        elif text:
            for piece in talk.reply(text, a.tokens, a.temperature, a.top_k):
                print(piece, end="", flush=True)
            print("\n", flush=True)


def fetched() -> Path:
    """The model that `minilora fetch` keeps.  ValueError if there is none yet."""
    from minilora.hf.fetch import MODELS, cache_folder

    path = cache_folder() / MODELS["smollm2"].wheel
    if not path.exists():
        raise ValueError("there is no model yet: run `minilora fetch smollm2`, or name one with --base")
    return path


def _lines() -> Iterator[str]:
    """What the user types, line by line, until the input ends."""
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return


def run_data(a: argparse.Namespace) -> None:
    check_out(a.out)
    if a.folder is None:
        task = tasks.load(a.task, a.seed, train=a.examples, valid=1, test=1)
        pairs = [(example.prompt, example.answer) for example in task.train]
    else:
        every = originals.read(a.task, a.folder)
        pairs = [every[i] for i in np.random.default_rng(a.seed).permutation(len(every))[: a.examples]]
    # A word begins with its space in the tokens of real models.
    records = [{"prompt": prompt, "completion": f" {answer}"} for prompt, answer in pairs]
    a.out.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    print(wrote(a.out, f"{len(records)} examples"))


# --------------------------------------------------------------------------------------------------- training


def train_on_examples(a: argparse.Namespace) -> None:
    """`minilora train --data NAME.jsonl`."""
    check_out(a.out, a.data, a.base)
    if not 0 <= a.validation < 1:
        raise ValueError(f"--validation {a.validation} must be at least 0 and below 1")
    records = read_jsonl(a.data)
    model, tokenizer = load_base(a.base, a.quantized)
    model.to(a.device)
    order = np.random.default_rng(a.seed).permutation(len(records))
    held_out = round(a.validation * len(records))
    most = min(a.max_tokens, model.max_tokens)
    training = encode_records([records[i] for i in order[held_out:]], tokenizer, most)
    validation = encode_records([records[i] for i in order[:held_out]], tokenizer, most).data if held_out else None
    ml.add_lora(model, lora_config(a), a.seed)
    a.lr, a.batch_size = a.lr or 1e-3, a.batch_size or 8
    a.steps = a.steps or -(-len(training.data) // a.batch_size)  # once through the examples
    print_plan(model, training, validation, a.steps, a.batch_size, a.workers)
    with saving_even_if_stopped(model, a.out):
        run = fit(model, training.data, validation, a, looks=2)
    held_out_loss = f"held-out loss, nats per {tokenizer.unit} of an answer: {curve(run)}"
    print(held_out_loss if run.val_losses else "nothing was held out")
    print(f"took {format_seconds(run.seconds)}{peak_memory()}")
    print(wrote(a.out))


def fit(
    model: Decoder, data: Data, validation: Data | None, a: argparse.Namespace, looks: int, comm: Comm | None = None
) -> ml.FitResult:
    """Train for `--steps` steps, with warm-up and a cosine; take the validation loss about `looks` times on the way."""
    return ml.fit(
        model,
        data,
        steps=a.steps,
        lr=partial(ml.warmup_cosine, steps=a.steps, lr=a.lr, warmup=a.steps // 30),
        batch_size=a.batch_size,
        validation=validation,
        eval_every=max(1, a.steps // looks),
        seed=a.seed,
        workers=a.workers,
        comm=comm,
        lr_factor=loraplus(model, a.lora_plus) if a.lora_plus else None,
    )


def curve(run: ml.FitResult) -> str:
    return ", ".join(f"{loss:.3f} at {step}" for step, loss in run.val_losses)


def print_plan(
    model: Decoder, training: Encoded, validation: RowData | None, steps: int, batch_size: int, workers: int
) -> None:
    """Print what is about to happen: parameters, memory, tokens, and the minutes, estimated from one discarded step."""
    data = training.data
    weights, trained = sum(p.nbytes for p in model.parameters), sum(p.nbytes for p in model.parameters if p.trainable)
    kind = quantization(model) or model.dtype
    tokens, counted = sum(map(len, data.rows)), sum(int(w.sum()) for w in data.weights)
    held_out = 0 if validation is None else len(validation)
    longest = data.batch(sorted(range(len(data)), key=lambda i: len(data.rows[i]))[-batch_size:])
    B, T = longest.tokens.shape
    piece = pieces_for(B, T, model.width, model.xp)[0]
    positions = np.flatnonzero(np.asarray(longest.weights)[piece])
    logits, cache = model.forward(longest.tokens[piece], positions=positions)
    activations = workers * (cache_bytes(cache) + 2 * logits.nbytes)
    del logits, cache
    batch = data.sample(np.random.default_rng(0), batch_size)
    started = time.perf_counter()
    ml.loss_and_grads(model, *batch, workers=workers)
    seconds = time.perf_counter() - started
    print(ml.trainable_report(model))
    print(
        f"memory: {weights / 1e6:,.0f} MB of weights ({kind}), {4 * trained / 1e6:,.0f} MB to train A and B, "
        f"up to {activations / 1e6:,.0f} MB of activations"
    )
    print(
        f"data: {len(data):,} examples, {tokens:,} tokens, {counted:,} of them in answers; {held_out:,} held out; "
        f"{training.cut:,} cut, {training.dropped:,} dropped because no answer was left"
    )
    print(f"{steps:,} steps of {batch_size} examples: about {format_seconds(steps * seconds)}", flush=True)


@contextmanager
def saving_even_if_stopped(model: Decoder, out: Path) -> Iterator[None]:
    """Write the adapter at the end, even if Ctrl-C or a loss that is not finite ends it: with the last good A and B."""
    try:
        yield
    except (KeyboardInterrupt, ml.NonFiniteLossError):
        ml.save_adapter(model, out)
        print(f"\nstopped: {wrote(out, 'the adapter as it was after the last good step')}", file=sys.stderr)
        raise
    ml.save_adapter(model, out)


def peak_memory() -> str:
    """ ", with at most 1,100 MB of memory", where the system keeps count."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", with at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:,.0f} MB of memory"
