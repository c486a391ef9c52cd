"""`minilora demo`: what the LoRA paper claims, measured on real text in about two minutes.

The base model knows Python's documentation; the task is Python's source. Five sections, each a function that
measures and returns its numbers, then a function that prints them. `DemoResult` holds all, so that the figure
and the tests are made from numbers alone.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minilora.analysis import (
    TrainingBytes,
    energy_share,
    gaussian_control,
    rank_for_energy,
    singular_values,
    training_bytes,
)
from minilora.backend import DEVICES, array_module, on_host, single_threaded_blas, synchronize
from minilora.checkpoint import load_base
from minilora.generate import generate
from minilora.lora import LoraConfig, add_lora, lora_layers, merge, remove_lora, trainable_report, unmerge
from minilora.nn import normal
from minilora.optim import warmup_cosine
from minilora.plots import demo_figure
from minilora.text import Batch, ByteTokenizer, TextData, python_source, split
from minilora.train import FitResult, evaluate, fit, loss_and_grads
from minilora.transformer import GPT, GPTConfig

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK = 4
ALPHA = 4  # "we simply set alpha to the first r we try and do not tune it" (section 4.1)
LEARNING_RATE = 2e-2
FULL_LEARNING_RATE = 1e-3
WRITTEN = 16  # bytes, to time a byte
PROMPT = "import os\n\ndef "  # a module begins; the base makes a sentence of it


@dataclass(frozen=True)
class Size:
    """How much the demo computes."""

    steps: int = 600  # of the main run
    short_steps: int = 60  # of each of the many short runs
    batch_size: int = 8  # windows in a step
    block_size: int = 128  # bytes in a window
    held_out: int = 32_768  # bytes that validation reads
    ranks: tuple[int, ...] = (1, 4, 16, 64)
    repeats: int = 60  # of each latency
    sample_bytes: int = 120  # with the prompt, no more than a window, the positions that training has met


QUICK = Size(steps=4, short_steps=2, batch_size=4, block_size=32, held_out=256, ranks=(1, 4), repeats=3, sample_bytes=8)


@dataclass(frozen=True)
class Task:
    """The downstream task: train on most of the standard library's source, validate on a part that is never seen."""

    train: TextData
    validation: TextData
    batch: Batch  # a fixed batch of the validation text, for what needs only one
    size: Size
    seed: int
    workers: int
    progress: bool


def python_task(size: Size, seed: int, workers: int, progress: bool) -> Task:
    """`python_source()`, its last tenth held out."""
    train, held_out = split(ByteTokenizer().encode(python_source()))
    validation = TextData(held_out[: size.held_out + 1], size.block_size)
    batch = next(validation.batches(size.batch_size))
    return Task(TextData(train, size.block_size), validation, batch, size, seed, workers, progress)


def adapted(base: GPT, task: Task, r: int = RANK, alpha: float = ALPHA) -> GPT:
    """A copy of the base with a fresh LoRA on all four attention projections."""
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=ATTENTION)
    return add_lora(copy.deepcopy(base), config, task.seed)


@dataclass(frozen=True)
class ShortRun:
    """A short run at a constant learning rate, all on the same batches in the same order."""

    losses: list[float]  # of each step's batch, nats per byte
    loss: float  # validation loss at the end, nats per byte


def short_run(model: GPT, task: Task, lr: float, label: str) -> ShortRun:
    """Train the model's trainable parameters for `short_steps`, then validate."""
    run = fit(
        model,
        task.train,
        steps=task.size.short_steps,
        lr=lr,
        batch_size=task.size.batch_size,
        seed=task.seed,
        workers=task.workers,
        progress=task.progress,
        label=label,
    )
    return ShortRun(run.losses, evaluate(model, task.validation, workers=task.workers))


# ------------------------------------------------------------------------------------------- 1 zero init


@dataclass(frozen=True)
class InitEffect:
    """What one way to start A and B does before and on the first step."""

    name: str
    identical: bool  # the logits have the very bits of the base's
    logit_change: float  # largest |logit - base logit|
    grad_A: float  # largest |dL/dA| over all layers
    grad_B: float
    loss: float  # nats per byte, on the task's batch


INITS = {
    "A Gaussian, B = 0 (LoRA)": (1, 0),
    "A = 0, B Gaussian": (0, 1),
    "A = 0, B = 0": (0, 0),
    "both Gaussian": (1, 1),
}


def zero_init(base: GPT, task: Task) -> list[InitEffect]:
    """Section 4.1: start with B = 0, so that BA = 0. The four ways to start, each with one gradient."""
    tokens, targets, _ = task.batch
    base_logits = base(tokens)
    effects = []
    for name, (draw_A, draw_B) in INITS.items():
        model = adapted(base, task)
        rng = np.random.default_rng(task.seed)
        for _, layer in lora_layers(model):
            layer.lora_A.data *= draw_A
            if draw_B:  # std 1/sqrt(r), as A has 1/sqrt(k): so that B h has the scale of h
                drawn = normal(rng, layer.lora_B.shape, layer.r**-0.5, model.config.dtype)
                layer.lora_B.data[...] = array_module(layer.lora_B.data).asarray(drawn)
        logits = model(tokens)
        loss, grads = loss_and_grads(model, tokens, targets, workers=task.workers)
        largest = {ending: max(abs(g).max() for n, g in grads.items() if n.endswith(ending)) for ending in "AB"}
        effects.append(
            InitEffect(
                name=name,
                identical=logits.tobytes() == base_logits.tobytes(),
                logit_change=float(abs(logits - base_logits).max()),
                grad_A=float(largest["A"]),
                grad_B=float(largest["B"]),
                loss=float(loss),
            )
        )
    return effects


def print_zero_init(effects: list[InitEffect]) -> None:
    heading(1, "zero init: an adapter starts as exactly nothing", "section 4.1")
    print("h = W0 x + (alpha/r) B A x, before the first step:\n")
    print(f"{'start':<26}{'logits':<26}{'max |dA|':>10}{'max |dB|':>10}{'loss':>8}")
    for e in effects:
        logits = "the base's, bit for bit" if e.identical else f"off by up to {e.logit_change:.2f}"
        print(f"{e.name:<26}{logits:<26}{e.grad_A:>10.4f}{e.grad_B:>10.4f}{e.loss:>8.3f}")
    print(
        "\nWith s = alpha/r and dh = dL/dh:  dB = s dh (A x)^T  and  dA = s B^T dh x^T.\n"
        "With B = 0, dA is exactly 0 on the first step and dB is not: B moves first, A follows.\n"
        "With both 0, neither ever moves. With both random, the model is damaged before it learns."
    )


# -------------------------------------------------------------------------------------------- 2 training


@dataclass(frozen=True)
class Training:
    """The main run: what it cost, what it reached, and the adapted model."""

    report: str  # trainable parameters, in PEFT's words
    lora_bytes: TrainingBytes
    full_bytes: TrainingBytes
    run: FitResult
    text_before: str
    text_after: str
    model: GPT


def training(base: GPT, task: Task) -> Training:
    """LoRA of rank 4 on all four attention projections, and its memory beside full fine-tuning's."""
    model = adapted(base, task)
    tokens, targets, _ = task.batch
    lora_bytes, full_bytes = (training_bytes(m, tokens, targets) for m in (model, base))
    steps = task.size.steps
    schedule = partial(warmup_cosine, steps=steps, lr=LEARNING_RATE, warmup=steps // 30)
    run = fit(
        model,
        task.train,
        steps=steps,
        lr=schedule,
        batch_size=task.size.batch_size,
        validation=task.validation,
        eval_every=-(-steps // 6),
        seed=task.seed,
        workers=task.workers,
        progress=task.progress,
        label=f"LoRA r={RANK}",
    )
    text_before, text_after = sample(base, task), sample(model, task)
    return Training(trainable_report(model), lora_bytes, full_bytes, run, text_before, text_after, model)


def sample(model: GPT, task: Task) -> str:
    """What the model writes behind PROMPT, the same random numbers for every model."""
    tokens = generate(
        model, ByteTokenizer().encode(PROMPT), task.size.sample_bytes, temperature=0.8, top_k=40, seed=task.seed
    )
    return ByteTokenizer().decode(tokens)


def print_training(result: Training) -> None:
    heading(2, "training: documentation in, Python source out", "sections 4.2 and 5")
    lora, full = result.lora_bytes, result.full_bytes
    print(result.report + "\n")
    print(f"{'kept while training':<26}{'LoRA':>14}{'full':>14}{'full / LoRA':>14}")
    for name in ("weights", "gradients", "adam", "total"):
        a, b = getattr(lora, name), getattr(full, name)
        title = {"adam": "Adam's m and v"}.get(name, name)
        print(f"{title:<26}{kib(a):>14}{kib(b):>14}{b / a:>14.1f}")
    (_, before), *_, (steps, after) = result.run.val_losses
    print(f"\nvalidation loss  {before:.3f} -> {after:.3f} nats per byte in {steps} steps, {result.run.seconds:.0f} s")
    print("(source that neither training has seen)")
    for title, text in (("the base writes", result.text_before), ("with the LoRA", result.text_after)):
        print(f"\n{title}:")
        print("\n".join("  | " + line for line in text.splitlines()))


def kib(size: int) -> str:
    return f"{size / 1024:,.0f} KiB"


# ------------------------------------------------------------------------------------- 3 the scale alpha/r


@dataclass(frozen=True)
class ScalingRuns:
    """The same ranks with the paper's alpha/r and without it, at one learning rate: rank -> run."""

    scaled: dict[int, ShortRun]
    unscaled: dict[int, ShortRun]


def alpha_over_r(base: GPT, task: Task) -> ScalingRuns:
    """Section 4.1: the scale alpha/r "helps to reduce the need to retune hyperparameters when we vary r".

    Without it dW = B A, which is what alpha = r gives. At r = ALPHA the two are one run, made once.
    """
    settings = dict.fromkeys((r, alpha) for r in task.size.ranks for alpha in (ALPHA, r))
    runs = {}
    for i, (r, alpha) in enumerate(settings, 1):
        label = f"run {i} of {len(settings)}: r={r}, scale {alpha / r:g}"
        runs[r, alpha] = short_run(adapted(base, task, r, alpha), task, LEARNING_RATE, label)
    return ScalingRuns(
        scaled={r: runs[r, ALPHA] for r in task.size.ranks}, unscaled={r: runs[r, r] for r in task.size.ranks}
    )


def spread(runs: dict[int, ShortRun]) -> float:
    """The worst final loss minus the best: what one learning rate for every rank costs."""
    losses = [run.loss for run in runs.values()]
    return max(losses) - min(losses)


def print_alpha_over_r(result: ScalingRuns) -> None:
    heading(3, "alpha/r: one learning rate for every rank", "section 4.1")
    steps = len(next(iter(result.scaled.values())).losses)
    print(f"validation loss after {steps} steps at learning rate {LEARNING_RATE:g}:\n")
    print(f"{'':<26}" + "".join(f"{f'r={r}':>9}" for r in result.scaled) + f"{'spread':>10}")
    for title, runs in ((f"with alpha/r, alpha = {ALPHA}", result.scaled), ("without: dW = B A", result.unscaled)):
        print(f"{title:<26}" + "".join(f"{run.loss:>9.3f}" for run in runs.values()) + f"{spread(runs):>10.3f}")
    print(
        "\nAdam moves every entry of A and B by about the learning rate, so B A grows with r; alpha/r takes that back."
    )


# -------------------------------------------------------------------------------------- 4 intrinsic rank


@dataclass(frozen=True)
class IntrinsicRank:
    """A full fine-tuning and the spectra of its updates of the attention projections, beside a control's."""

    full: ShortRun
    sigma: dict[str, np.ndarray]  # layer -> singular values of dW / ||dW||_F
    control: dict[str, np.ndarray]  # the same of a Gaussian matrix of that shape


def intrinsic_rank(base: GPT, task: Task) -> IntrinsicRank:
    """Section 4.1 supposes that updates have a low intrinsic rank: look at those of a full fine-tuning."""
    model = copy.deepcopy(base)
    full = short_run(model, task, FULL_LEARNING_RATE, "full fine-tuning")
    before, after = base.named_parameters(), model.named_parameters()
    rng = np.random.default_rng(task.seed)
    sigma, control = {}, {}
    for name in before:
        if name.endswith(tuple(f"{layer}.weight" for layer in ATTENTION)):
            dW = after[name].data - before[name].data
            dW /= array_module(dW).linalg.norm(dW)
            sigma[name] = singular_values(dW)
            control[name] = singular_values(gaussian_control(dW, rng))
    return IntrinsicRank(full, sigma, control)


def mean_of(measure: Callable[[np.ndarray], float], spectra: dict[str, np.ndarray], layer: str = "") -> float:
    """The mean of a measure over the spectra of one kind of layer, or of all."""
    return statistics.fmean(measure(sigma) for name, sigma in spectra.items() if layer in name)


def print_intrinsic_rank(result: IntrinsicRank, scaling: ScalingRuns, trained: Training) -> None:
    runs, base_loss = scaling.scaled, trained.run.val_losses[0][1]
    heading(4, "intrinsic rank: few directions do most of the work", "sections 4.1 and 7.2")
    print(f"validation loss after {len(result.full.losses)} steps, LoRA with alpha/r:\n")
    print(f"{'base':>9}" + "".join(f"{f'r={r}':>9}" for r in runs) + f"{'full':>9}")
    print(f"{base_loss:>9.3f}" + "".join(f"{run.loss:>9.3f}" for run in runs.values()) + f"{result.full.loss:>9.3f}")
    lowest = min(runs)
    gained = (base_loss - runs[lowest].loss) / (base_loss - result.full.loss)
    print(f"\nRank {lowest} alone gets {gained:.0%} of what full fine-tuning gains.")
    k = len(next(iter(result.sigma.values())))
    print(f"\nThe full fine-tuning's own dW has {k} singular values. Means over the blocks, beside a random matrix:\n")
    print(f"{'':<26}" + "".join(f"{layer:>9}" for layer in ATTENTION) + f"{'random':>9}")
    for title, measure, form in (
        (f"energy in the first {RANK}", partial(energy_share, r=RANK), ".0%"),
        ("rank that holds 90 %", rank_for_energy, ".0f"),
    ):
        values = [mean_of(measure, result.sigma, layer) for layer in ATTENTION] + [mean_of(measure, result.control)]
        print(f"{title:<26}" + "".join(f"{value:>9{form}}" for value in values))


# --------------------------------------------------------------------------------------------- 5 merging


@dataclass(frozen=True)
class Merging:
    """What merging changes: nothing but rounding in the logits, and the time of a forward pass."""

    logit_difference: dict[str, float]  # dtype -> largest |merged - unmerged| logit
    largest_logit: float
    reading: dict[str, float]  # base, unmerged, merged -> median milliseconds of one window's forward pass
    writing: dict[str, float]  # the same of a byte, when written one by one
    restored: bool  # unmerge gave every weight's very bits back
    drift: float  # largest |W - W0| after the paper's way: subtract B A again
    where: str  # what took these times


def merging(base: GPT, model: GPT, task: Task) -> Merging:
    """Section 4.1: with W = W0 + (alpha/r) B A stored, inference has no additional latency."""
    tokens = task.batch.tokens
    logits = model(tokens)
    merged = merge(copy.deepcopy(model))
    double, double_merged = as_float64(model), merge(as_float64(model))
    difference = {
        "float32": float(abs(merged(tokens) - logits).max()),
        "float64": float(abs(double_merged(tokens) - double(tokens)).max()),
    }
    deployed = remove_lora(copy.deepcopy(merged))  # plain layers that hold W, as `minilora merge` writes them
    models, window = {"base": base, "unmerged": model, "merged": deployed}, tokens[:1]
    reading = interleaved_medians(models, lambda m: m(window), task.size.repeats)
    writing = interleaved_medians(
        models, lambda m: generate(m, window[:, :1], WRITTEN, temperature=0), task.size.repeats
    )
    writing = {name: ms / WRITTEN for name, ms in writing.items()}
    weights = weight_bits(unmerge(merged))
    subtracted = unmerge(merge(copy.deepcopy(model), keep_base=False))
    drift = max(
        float(abs(a.weight.data - b.weight.data).max())
        for (_, a), (_, b) in zip(lora_layers(subtracted), lora_layers(model), strict=True)
    )
    where = "one core" if on_host(logits) else "the GPU"
    return Merging(difference, float(abs(logits).max()), reading, writing, weights == weight_bits(base), drift, where)


def write_bytes(model: GPT) -> None:
    """Write WRITTEN bytes behind the prompt's first, each of them a forward pass of its own."""
    generate(model, ByteTokenizer().encode(PROMPT)[:1], WRITTEN, temperature=0)


def as_float64(model: GPT) -> GPT:
    """The same adapted model in double precision."""
    config = next(layer.config for _, layer in lora_layers(model))
    double = add_lora(GPT(GPTConfig(**{**asdict(model.config), "dtype": "float64"})), config)
    double.load_state_dict(model.state_dict())
    return double.to(array_module(model.wte.weight.data).__name__)


def weight_bits(model: GPT) -> dict[str, bytes]:
    """Name -> the bytes of each parameter, A and B left out."""
    return {n: a.tobytes() for n, a in model.state_dict().items() if not n.endswith((".lora_A", ".lora_B"))}


def interleaved_medians(models: dict[str, GPT], run: Callable[[GPT], object], repeats: int) -> dict[str, float]:
    """Median milliseconds of `run` on each model. They take turns, so that a busy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in models}
    # A thread that waits for a GPU computes nothing.
    on_cpu = all(on_host(model.wte.weight.data) for model in models.values())
    clock = finest_clock() if on_cpu else time.perf_counter
    with single_threaded_blas():
        for _ in range(repeats):
            for name, model in models.items():
                start = clock()
                run(model)
                synchronize(model.wte.weight.data)
                times[name].append(1000 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def finest_clock() -> Callable[[], float]:
    """The time this thread computes, which other programs do not lengthen, where it is counted finely (not on Windows:
    there in steps of 16 ms); else the time that passes."""
    return time.thread_time if time.get_clock_info("thread_time").resolution < 1e-4 else time.perf_counter


def print_merging(result: Merging) -> None:
    heading(5, "merge: W = W0 + (alpha/r) B A costs nothing at inference", "section 4.1")
    print(f"largest |merged - unmerged| logit, of logits up to {result.largest_logit:.1f}:")
    for dtype, value in result.logit_difference.items():
        print(f"  {dtype:<12}{value:.1e}")
    print("It shrinks as the unit roundoff does: rounding, and nothing else.\n")
    print(f"{f'median milliseconds of {result.where}':<32}" + "".join(f"{name:>10}" for name in result.reading))
    for title, times in (
        ("to read a window at once", result.reading),
        ("to write one more byte", result.writing),
    ):
        print(f"{title:<32}" + "".join(f"{ms:>10.2f}" for ms in times.values()))
        print(f"{'':<32}{'':>10}{slower(times, 'unmerged'):>+10.0%}{slower(times, 'merged'):>+10.0%}")
    print("A and B are small; what they cost is two more products a layer, which a short input feels most.")
    print(f"\nunmerge: W0 {'restored bit for bit' if result.restored else 'NOT restored'} (it was kept aside)")
    print(f"the paper's way, W - (alpha/r) B A, misses W0 by up to {result.drift:.1e}")


def slower(milliseconds: dict[str, float], name: str) -> float:
    """By what part of the base's time a model takes longer."""
    return milliseconds[name] / milliseconds["base"] - 1


# ------------------------------------------------------------------------------------------- the whole


@dataclass(frozen=True)
class DemoResult:
    """All five sections' numbers."""

    inits: list[InitEffect]
    training: Training
    scaling: ScalingRuns
    intrinsic: IntrinsicRank
    merging: Merging
    seconds: float


def demo(size: Size, seed: int, workers: int, figure: Path, progress: bool = True, device: str = "cpu") -> DemoResult:
    """Run and print the five sections, on "cpu" or "gpu", then a table; draw the figure if matplotlib is there.

    RuntimeError if this Python has no standard-library sources, DeviceError (one too) if there is no such device.
    """
    started = time.perf_counter()
    base = load_base()[0].to(DEVICES[device])
    task = python_task(size, seed, workers, progress)
    print_introduction(base, task)
    # On small matrices a BLAS with threads of its own only waits for itself; `workers` share the rows instead.
    with single_threaded_blas():
        print_zero_init(inits := zero_init(base, task))
        print_training(trained := training(base, task))
        print_alpha_over_r(scaling := alpha_over_r(base, task))
        print_intrinsic_rank(intrinsic := intrinsic_rank(base, task), scaling, trained)
        print_merging(merged := merging(base, trained.model, task))
    result = DemoResult(inits, trained, scaling, intrinsic, merged, time.perf_counter() - started)
    print_summary(result)
    print_figure(result, figure)
    return result


def print_introduction(base: GPT, task: Task) -> None:
    c = base.config
    print(
        f"The base: a byte-level GPT, {c.n_layer} layers of width {c.n_embd}, pre-trained on Python's documentation.\n"
        f"The task: Python's source, {len(task.train.tokens):,} bytes of the standard library on this computer,\n"
        f"and {task.size.held_out:,} bytes held out. Losses are nats per byte; five sections, about two minutes."
    )


def heading(number: int, title: str, source: str) -> None:
    line = f"{number}. {title}  ({source} of the paper)"
    print(f"\n\n{line}\n{'-' * len(line)}", flush=True)


def print_summary(result: DemoResult) -> None:
    """One line a claim, from the numbers alone."""
    (_, before), *_, (_, after) = result.training.run.val_losses
    lora, full = result.training.lora_bytes, result.training.full_bytes
    scaled, unscaled = spread(result.scaling.scaled), spread(result.scaling.unscaled)
    directions = [mean_of(rank_for_energy, spectra) for spectra in (result.intrinsic.sigma, result.intrinsic.control)]
    merged, unmerged = (slower(result.merging.writing, name) for name in ("merged", "unmerged"))
    heading(6, "in short", "the abstract")
    for claim, measured in {
        "an adapter starts as nothing": "logits equal, bit for bit" if result.inits[0].identical else "NOT equal",
        "few parameters learn a task": f"loss {before:.3f} -> {after:.3f} with r={RANK}",
        "training needs less memory": f"{kib(full.total)} -> {kib(lora.total)} kept from step to step",
        "alpha/r spares retuning": f"loss differs by {scaled:.3f} between ranks, by {unscaled:.3f} without",
        "updates have low rank": "90 % of dW in {:.0f} directions, of noise in {:.0f}".format(*directions),
        "merged, it costs no time": f"{merged:+.0%} a byte, unmerged {unmerged:+.0%}",
    }.items():
        print(f"{claim:<32}{measured}")
    print(f"\n{result.seconds:.0f} s in all")


def print_figure(result: DemoResult, path: Path) -> None:
    try:
        demo_figure(result, path)
    except ImportError:
        print("no figure: matplotlib is not installed. Install it with: python -m pip install matplotlib")
    else:
        print(f"figure: {path.resolve()}")
