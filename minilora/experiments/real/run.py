"""One run on the real model: a config in, numbers out."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import minilora as ml
from minilora import methods
from minilora.experiments.engine.run import Result, provenance
from minilora.experiments.real.data import PLAIN, Prompting, RealData, encode
from minilora.experiments.real.scores import WORKERS, on_pairs, on_test
from minilora.experiments.real.updates import measured
from minilora.files.training import load_training, save_training
from minilora.hf import load_pretrained
from minilora.methods.loraplus import lr_factor
from minilora.nn import Decoder
from minilora.text import Batch, RowData

WINDOW = 8  # batches whose examples are sorted by length together, so that little is padding
SAVE_EVERY = 60.0  # seconds of the processor: what an interruption loses at most


@dataclass(frozen=True)
class RealConfig:
    """Everything that decides a run's numbers.

    method, options  as `methods.apply` takes them
    lr               peak learning rate: 6 % of the steps warm up, the rest follow half a cosine
    train            how many of the training pairs, each once; 0: the base as it is
    seed             of the method's new parameters and of the batches; the pairs are always the same
    prompting        what stands in front of a meaning to test on
    base, data, test hashes of the base's file, of the pairs to train on and choose rates by, and of the meanings to
                     test on; test is "" if only the loss that chooses rates is wanted
    """

    method: str
    lr: float
    train: int
    base: str
    data: str
    test: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    batch_size: int = 8
    prompting: Prompting = PLAIN

    @functools.cached_property
    def text(self) -> str:
        """The config as canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def key(self) -> str:
        """The name its result is stored under: what it is, in short, and a hash of the config."""
        rank = f"-r{self.options['r']}" if "r" in self.options else ""
        hashed = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        return f"{self.method}{rank}-n{self.train}-lr{self.lr:g}-s{self.seed}-{hashed}"

    @property
    def training(self) -> str:
        """The same for all runs that train alike, whatever they are tested on: the name their adapter is kept under."""
        return replace(self, test="").key

    @property
    def steps(self) -> int:
        return -(-self.train // self.batch_size)


@functools.cache
def file_hash(base: Path) -> str:
    """Twelve digits of the hash of a base: of the file, or of a folder's weights."""
    files = sorted(base.glob("*.safetensors")) if base.is_dir() else [base]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def run(config: RealConfig, data: RealData, base: Path, folder: Path) -> Result:
    """Tune the base on the first pairs; measure its loss where rates are chosen, or all else on the test meanings.

    `folder` keeps the state of a run that was interrupted, until it has ended, and the adapters of LoRA: a run that
    trains as an earlier one did, and is tested on other meanings, takes its adapter. `seconds` are the processor's, of
    both threads together. If the loss is not finite, the result has the error under `diverged` and no scores.
    """
    started = time.process_time()
    model, tokenizer = load_pretrained(base)
    state, adapter = folder / f"{config.training}.state", adapter_file(config, folder)
    result: Result = {"config": json.loads(config.text), "trainable": 0, "total": model.config.parameter_count}
    result |= {"valid_loss": None, "test_loss": None, "test": {}, "made_by": made_by()}
    earlier = 0.0
    if config.train:
        methods.apply(model, config.method, seed=config.seed, **config.options)
        result["trainable"] = sum(p.size for p in model.parameters if p.trainable)
        if adapter.exists():
            ml.load_adapter(model, adapter)
        else:
            try:
                losses, earlier = train(model, tokenizer, config, data, state)
            except ml.NonFiniteLossError as error:
                return result | {"diverged": str(error), "seconds": round(time.process_time() - started)}
            result["losses"] = [round(loss, 4) for loss in losses]
            if config.method == "lora":
                adapter.parent.mkdir(exist_ok=True)
                ml.save_adapter(model, adapter)
    if config.train and not config.test:
        result["valid_loss"] = on_pairs(model, tokenizer, data.rates, config.prompting, data.train)["loss"]
    if config.test:
        result["test"] = on_test(model, tokenizer, data, config.prompting)
        result["test_loss"] = (result["test"]["pairs"] or {}).get("loss")
        result["updates"] = measured(model, base) if config.train else {}
    state.unlink(missing_ok=True)
    return result | {"seconds": round(earlier + time.process_time() - started)}


def adapter_file(config: RealConfig, folder: Path) -> Path:
    """Where LoRA's A and B are kept."""
    return folder / "adapters" / f"{config.training}.npz"


def made_by() -> dict[str, Any]:
    """As a miniature's run has it, without the shipped base, which plays no part."""
    return {name: value for name, value in provenance().items() if name != "base_sha256"}


def train(model: Decoder, tokenizer: Any, config: RealConfig, data: RealData, state: Path) -> tuple[list[float], float]:
    """Once through the pairs with Adam, continuing from `state` if it is there.  Returns each step's loss, in nats per
    token of the sentences, and the processor's seconds before an interruption."""
    losses: list[float] = []
    earlier, started = 0.0, time.process_time()
    optimizer = ml.Adam(model, config.lr, lr_factor=lr_factor(model))
    if state.exists():
        record, _ = load_training(state, model, optimizer)
        losses, earlier = record["losses"], record["seconds"]
    last = started
    for step, batch in enumerate(batches(tokenizer, config, data)):
        if step < len(losses):
            continue
        loss, grads = ml.loss_and_grads(model, *batch, workers=WORKERS)
        norm = float(ml.clip_grad_norm(grads, 1.0))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ml.NonFiniteLossError(f"step {step}: the loss is {loss} and the gradients' norm {norm}")
        optimizer.lr = ml.warmup_cosine(step, config.steps, config.lr, warmup=max(1, config.steps * 6 // 100))
        optimizer.step(grads)
        losses.append(float(loss))
        now = time.process_time()
        if now - last > SAVE_EVERY or len(losses) == config.steps:
            save_training(state, model, optimizer, {"losses": losses, "seconds": earlier + now - started}, {})
            last = time.process_time()
    return losses, earlier


def batches(tokenizer: Any, config: RealConfig, data: RealData) -> Iterator[Batch]:
    """Every training pair once, in an order that the seed decides; a batch's examples are of similar length."""
    encoded = [encode(pair, tokenizer) for pair in data.train[: config.train]]
    rows = RowData([tokens for tokens, _ in encoded], [weights for _, weights in encoded])
    rng, size = np.random.default_rng([config.seed, 1]), config.batch_size
    order = rng.permutation(len(rows))
    for start in range(0, len(order), WINDOW * size):
        window = sorted(order[start : start + WINDOW * size], key=lambda i: len(rows.rows[i]))
        chunks = [window[i : i + size] for i in range(0, len(window), size)]
        for i in rng.permutation(len(chunks)):
            yield rows.batch(chunks[i])
