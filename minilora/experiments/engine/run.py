"""One run: a config in, numbers out, and results on disk."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import platform
import secrets
import subprocess
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import minilora as ml
from minilora import methods, tasks
from minilora.files.model import BASE_PATH
from minilora.lora import lora_layers
from minilora.machine.blas import single_threaded_blas
from minilora.methods.loraplus import lr_factor
from minilora.methods.subspace import fit_in_subspace

Result = dict[str, Any]
FIELDS = {"config", "trainable", "total", "valid_loss", "test_loss", "test", "seconds", "made_by"}  # of every result


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers, apart from the shipped base.

    task, method  names in `tasks.TASKS` and `methods.METHODS`; "subspace" trains in a random subspace of `m` dimensions
    options       the method's
    lr            peak learning rate: 6 % of the steps warm up, the rest follow half a cosine
    seed          of the method's new parameters and of the batches; the data are always the same
    train, valid, test   numbers of examples
    answers       whether to answer and score the test prompts, or to compute losses only
    """

    task: str
    method: str
    lr: float
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    steps: int = 200
    batch_size: int = 8
    train: int = 2000
    valid: int = 100
    test: int = 100
    answers: bool = True

    @functools.cached_property
    def text(self) -> str:
        """The config as canonical JSON: equal configs have equal text, which a plan asks for very often."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def key(self) -> str:
        """A short hash of the config and the base: the name its result is stored under."""
        return hashlib.sha256((self.text + base_sha256()).encode()).hexdigest()[:16]


@functools.cache
def base_sha256() -> str:
    """The hash of the shipped base's file: another base would give other results."""
    return hashlib.sha256(BASE_PATH.read_bytes()).hexdigest()


@functools.lru_cache(maxsize=8)
def load_task(name: str, train: int, valid: int, test: int) -> tasks.Task:
    """A task's data, the same for every run's seed."""
    return tasks.load(name, seed=0, train=train, valid=valid, test=test)


def run(config: RunConfig) -> Result:
    """Adapt the shipped base to the task as the config asks; score it on the validation and test splits.

    The result holds the config, the number of trained parameters, each step's loss, `valid_loss` and `test_loss` in
    nats per byte of the answers, the task's metrics on the test split (`test`), and the processor time. If the loss
    becomes infinite or NaN, the result has the error under `diverged` and no scores.
    """
    started = time.process_time()
    task = load_task(config.task, config.train, config.valid, config.test)
    with single_threaded_blas():
        model, _ = ml.load_base()
        result: Result = {"config": asdict(config), **_counts(model, config)}
        try:
            result["losses"] = [round(loss, 5) for loss in train(model, task, config)]
            result |= score(model, task, config.answers)
        except ml.NonFiniteLossError as error:
            result |= {"diverged": str(error), "valid_loss": None, "test_loss": None, "test": {}}
    plain = config.method == "lora"
    result["lora"] = {path: layer.factors() for path, layer in lora_layers(model)} if plain else {}
    result["seconds"] = round(time.process_time() - started, 2)
    return result


def _counts(model: ml.GPT, config: RunConfig) -> dict[str, int]:
    """Apply the method to the model; count the parameters that train, and the base's."""
    total = model.config.parameter_count
    if config.method == "subspace":
        return {"trainable": config.options["m"], "total": total}
    methods.apply(model, config.method, seed=config.seed, **config.options)
    trained = sum(p.size for p in model.named_parameters().values() if p.trainable)
    return {"trainable": trained, "total": total}


def train(model: ml.GPT, task: tasks.Task, config: RunConfig) -> list[float]:
    """Train the method's parameters; returns each step's loss, in nats per byte of the answers."""
    data = tasks.TaskData(task.train, model.max_tokens)

    def lr(step: int) -> float:
        return ml.warmup_cosine(step, config.steps, config.lr, warmup=max(1, config.steps * 6 // 100))

    common: dict[str, Any] = {"steps": config.steps, "batch_size": config.batch_size, "seed": config.seed}
    if config.method == "subspace":
        # A step s of z moves a parameter by about s sqrt(m / D). Undo that, so that it moves by lr for any m.
        m = config.options["m"]
        longer = math.sqrt(model.config.parameter_count / m)
        return fit_in_subspace(model, data, m, lr=lambda step: longer * lr(step), **common)
    return ml.fit(model, data, lr=lr, lr_factor=lr_factor(model), progress=False, **common).losses


def score(model: ml.GPT, task: tasks.Task, answers: bool) -> Result:
    """Losses on the validation and test splits, and the task's metrics on test, from greedy answers if `answers`."""
    losses = {
        f"{split}_loss": ml.evaluate(model, tasks.TaskData(examples, model.max_tokens))
        for split, examples in (("valid", task.valid), ("test", task.test))
    }
    if task.metrics == ("nats_per_byte",):  # the loss is the score: generated text has none
        return losses | {"test": {"nats_per_byte": losses["test_loss"]}}
    if not answers:
        return losses | {"test": {}}
    return losses | {"test": task.score(task.test, tasks.answer(model, task.test, task.max_new))}


# ------------------------------------------------------------------------------------------------- on disk


class Config(Protocol):
    """What a store needs to know of a run."""

    @property
    def text(self) -> str: ...

    @property
    def key(self) -> str: ...


class Store:
    """Results in a folder: for each run a JSON file named after its config's key, and LoRA's matrices as an .npz."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, config: Config) -> Result | None:
        """The complete result of an earlier run of this config, or None."""
        try:
            result = json.loads((self.folder / f"{config.key}.json").read_text(encoding="utf-8"))
            whole = result["config"] == json.loads(config.text) and result.keys() >= FIELDS
        except (OSError, ValueError, TypeError, KeyError):  # not there, not JSON, or somebody else's
            return None
        return result if whole else None

    def lora(self, config: Config) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """path -> (A, B) at the end of a LoRA run.  ValueError if their file is missing or damaged."""
        file = self.folder / f"{config.key}.npz"
        try:
            with np.load(file, allow_pickle=False) as arrays:
                paths = sorted({name.rpartition(".")[0] for name in arrays.files})
                return {path: (arrays[f"{path}.A"], arrays[f"{path}.B"]) for path in paths}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            cure = f"delete {file.with_suffix('.json').name} beside it and run the same command again"
            raise ValueError(f"{file} is missing or damaged ({error}): {cure}") from None

    def put(self, config: Config, result: Result) -> Result:
        """Write a result. The JSON file comes last, in one step, so that a run is stored whole or not at all."""
        if matrices := result.pop("lora", {}):
            arrays = {f"{path}.{n}": M for path, pair in matrices.items() for n, M in zip("AB", pair, strict=True)}
            np.savez(self.folder / f"{config.key}.npz", **arrays)
        write_text(self.folder / f"{config.key}.json", json.dumps(result) + "\n")
        return result


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def run_and_keep(config: RunConfig, folder: Path) -> Result:
    """The stored result of the config; if there is none, run it and store the result with its provenance."""
    store = Store(folder)
    return store.get(config) or store.put(config, run(config) | {"made_by": provenance()})


@functools.cache
def provenance() -> dict[str, Any]:
    """Commit, versions and machine: what it takes to make a number again."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "minilora": ml.__version__,
        "base_sha256": base_sha256()[:16],
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def _commit() -> str:
    """The commit of the package's checkout, marked if files were modified; "unknown" outside a checkout."""
    folder = Path(ml.__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("-modified" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
