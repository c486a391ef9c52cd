"""What to run: settings, the learning rates to try for each method, and how much of everything.

Every method's learning rate is searched in the same way: each of its family's rates is tried once per task, with seed 0
and the family's options, and while the best is the lowest or highest tried, the search goes one rate further. The rate
with the lowest validation loss serves all the method's settings on that task, with every seed. Runs on fewer examples
have their own search. Test scores play no part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from minilora.experiments.engine.run import Result, RunConfig, Store
from minilora.tasks import PROMPT_END

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("up_proj", "down_proj")
EVERYWHERE = (*ATTENTION, *MLP, "wte", "wpe")
ALPHA = 8  # "we simply set alpha to the first r we try and do not tune it" (section 4.1)


def lora(r: int, targets: Iterable[str] = ("q_proj", "v_proj"), alpha: float = ALPHA) -> dict[str, Any]:
    """LoRA's options."""
    return {"r": r, "lora_alpha": alpha, "target_modules": list(targets)}


INFIX = {"l_i": 4, "boundary": ord(PROMPT_END)}  # special tokens between prompt and answer


class Family(NamedTuple):
    """Settings whose learning rate is searched together: with this method and options, these peak rates first."""

    method: str
    options: dict[str, Any]
    rates: tuple[float, ...]  # half a decade apart


LOW, MIDDLE, HIGH, HIGHEST = (3e-4, 1e-3, 3e-3), (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2), (3e-2, 1e-1, 3e-1)
FAMILIES = {
    "full": Family("full", {}, LOW),
    "top2": Family("top2", {}, LOW),
    "bitfit": Family("bitfit", {}, HIGH),
    "adapter_h": Family("adapter_h", {"m": 8}, MIDDLE),
    "adapter_l": Family("adapter_l", {"m": 16}, MIDDLE),
    "pre_embed": Family("pre_embed", {"l_p": 16, **INFIX}, HIGHEST),
    "pre_layer": Family("pre_layer", {"l_p": 8, **INFIX}, HIGHEST),
    "lora": Family("lora", lora(4, ATTENTION), HIGH),
    "lora_v_o_mlp": Family("lora", lora(3, ("v_proj", "o_proj", *MLP)), HIGH),
    "lora_pre_embed": Family("lora_pre_embed", {"l_p": 8, **INFIX, **lora(4, ATTENTION)}, HIGH),
    "lora_pre_layer": Family("lora_pre_layer", {"l_p": 8, **INFIX, **lora(4, ATTENTION)}, HIGH),
    "everywhere": Family("lora", lora(128, EVERYWHERE) | {"bias": "all"}, MIDDLE),
    "subspace": Family("subspace", {"m": 1000}, MIDDLE),
    "all_lora": Family("lora", lora(4, (*ATTENTION, *MLP)), HIGH),
    "all_dora": Family("dora", lora(4, (*ATTENTION, *MLP)), HIGH),
    "all_pissa": Family("pissa", lora(4, (*ATTENTION, *MLP)), HIGH),
    "all_olora": Family("olora", lora(4, (*ATTENTION, *MLP)), HIGH),
    "all_loraplus": Family("loraplus", lora(4, (*ATTENTION, *MLP)) | {"ratio": 16.0}, HIGH),
    "all_vera": Family("vera", {"r": 64, "target_modules": [*ATTENTION, *MLP]}, HIGH),
    "all_lora_xs": Family("lora_xs", lora(32, (*ATTENTION, *MLP)), HIGH),
    "attention_lora": Family("lora", lora(9, ATTENTION), HIGH),  # as many parameters as all_lora
}
RANKED = ("all_lora", "all_dora", "all_pissa", "all_loraplus")  # variants that are compared at other ranks too
FAMILIES |= {
    f"{name}_r{r}": FAMILIES[name]._replace(options=FAMILIES[name].options | {"r": r})
    for name in RANKED
    for r in (1, 16)
}
AFTER_LORA = tuple(family for family in FAMILIES if family.startswith(("all_", "attention_")))
LOSS_ONLY = ("everywhere", "subspace", *AFTER_LORA)  # families whose answers are not scored

LADDER = tuple(float(f"{digit}e{power}") for power in range(-6, 2) for digit in (1, 3))  # all rates a search may try
MOST_RATES = 6  # in one search


@dataclass(frozen=True)
class Scale:
    """How much to compute.  `searched` is False for --quick, which takes the middle rate without a search."""

    seeds: int = 3
    steps: int = 240
    task_factor: tuple[tuple[str, float], ...] = (("nli", 1.25), ("code", 0.5))  # multiplies `steps`
    batch_size: int = 8
    train: int = 2000
    valid: int = 100
    test: int = 100
    searched: bool = True
    repeats: int = 30  # of each timing

    def task_steps(self, task: str) -> int:
        """Training steps: more for tasks with short examples."""
        return round(self.steps * dict(self.task_factor).get(task, 1.0))

    def rates(self, family: str) -> tuple[float, ...]:
        """The learning rates to try for a family."""
        rates = FAMILIES[family].rates
        return rates if self.searched else (rates[len(rates) // 2],)


QUICK = Scale(seeds=1, steps=12, batch_size=4, train=200, valid=12, test=6, searched=False, repeats=3)


class Group(NamedTuple):
    """Settings that share a learning rate: a task, a key of FAMILIES, the number of examples, and the batch size."""

    task: str
    family: str
    train: int | None = None
    batch_size: int | None = None

    @property
    def data(self) -> str:
        """The task, with the numbers that are not the scale's: "sql-100", "sql-in-32s"."""
        examples = "" if self.train is None else f"-{self.train}"
        return f"{self.task}{examples}" + ("" if self.batch_size is None else f"-in-{self.batch_size}s")


@dataclass(frozen=True)
class Setting:
    """A cell of a table: what to train on which task.

    family     a key of FAMILIES: settings of one family share a learning rate (None: the method's name)
    train      examples to train on (None: the scale's)
    longer     multiplies the scale's steps
    batch_size (None: the scale's) another one gets as many steps as make as many examples
    lr         a fixed learning rate (None: the searched one)
    seeds      how many (None: the scale's, which are also the most)
    untrained  make no step: the base itself
    answers    score answers too, not only losses
    """

    task: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    family: str | None = None
    train: int | None = None
    longer: int = 1
    batch_size: int | None = None
    lr: float | None = None
    seeds: int | None = None
    untrained: bool = False
    answers: bool = True

    @property
    def group(self) -> Group:
        """The settings it shares its learning rate with."""
        return Group(self.task, self.family or self.method, self.train, self.batch_size)

    def same_runs(self, other: Setting) -> bool:
        """Whether both make the same run from the same seed."""
        return replace(self, seeds=None) == replace(other, seeds=None)

    def seed_range(self, scale: Scale) -> range:
        return range(scale.seeds if self.seeds is None else min(self.seeds, scale.seeds))

    def config(self, scale: Scale, lr: float, seed: int) -> RunConfig:
        batch_size = self.batch_size or scale.batch_size
        steps = max(1, self.longer * scale.task_steps(self.task) * scale.batch_size // batch_size)
        return RunConfig(
            task=self.task,
            method=self.method,
            lr=lr,
            options=self.options,
            seed=seed,
            steps=0 if self.untrained else steps,
            batch_size=batch_size,
            train=scale.train if self.train is None else min(self.train, scale.train),
            valid=scale.valid,
            test=scale.test,
            answers=self.answers,
        )


def reference(task: str, family: str, train: int | None = None, batch_size: int | None = None) -> Setting:
    """The setting that a family's learning rate is searched with, and that represents the family in tables."""
    method, options, _ = FAMILIES[family]
    own_family = None if family == method else family
    return Setting(task, method, options, own_family, train, batch_size=batch_size, answers=family not in LOSS_ONLY)


def untrained(task: str) -> Setting:
    """The base before any training."""
    return Setting(task, "full", lr=0.0, seeds=1, untrained=True)


def chosen_rate(losses: dict[float, float | None]) -> float:
    """The rate with the lowest validation loss (None: the run diverged); the lowest rate if all runs diverged."""
    finite = {lr: loss for lr, loss in losses.items() if loss is not None}
    return min(finite, key=lambda lr: finite[lr]) if finite else min(losses)


def beyond(losses: dict[float, float | None]) -> float | None:
    """The next rate of the LADDER if the best one is the lowest or highest tried; None if it lies between."""
    best, place = chosen_rate(losses), LADDER.index
    if best == max(losses):
        return LADDER[place(best) + 1]
    return LADDER[place(best) - 1] if best == min(losses) else None


@dataclass(frozen=True)
class Job:
    """A run to make: a config, or a setting and a seed whose learning rate is still being searched."""

    config: RunConfig | None = None
    setting: Setting | None = None
    seed: int = 0


class Plan:
    """The runs of some settings, each once, in order.  Whoever makes them puts their results into `results`."""

    def __init__(self, settings: Iterable[Setting], scale: Scale) -> None:
        self.scale = scale
        self.results: dict[str, Result] = {}  # under the config's text
        self.jobs: list[Job] = []
        self._planned: set[str] = set()
        self._groups: list[Group] = []
        for setting in settings:
            if setting.lr is None and setting.group not in self._groups:
                self._groups.append(setting.group)
                self.extend()
            for seed in setting.seed_range(scale):
                config = setting.config(scale, setting.lr or 0.0, seed)
                if setting.lr is not None:
                    self._add(config.text, Job(config))
                elif seed or not setting.same_runs(reference(*setting.group)):  # which the search makes
                    self._add("searched " + config.text, Job(setting=setting, seed=seed))

    def _add(self, text: str, job: Job, first: bool = False) -> None:
        if text not in self._planned:
            self._planned.add(text)
            self.jobs.insert(0 if first else len(self.jobs), job)

    def extend(self) -> None:
        """Add the runs that the searches are known to need; rates beyond the listed ones go first."""
        for group in self._groups:
            listed = self.scale.rates(group.family)
            for config in self.search(group):
                self._add(config.text, Job(config), first=config.lr not in listed)

    def search(self, group: Group) -> list[RunConfig]:
        """The runs that decide a learning rate: the listed rates, then one further while the best is at an end."""
        rates = list(self.scale.rates(group.family))
        while self.scale.searched and len(rates) < MOST_RATES:
            losses = self._losses(self._at(group, rates))
            further = None if losses is None else beyond(losses)
            if further is None:
                break
            rates = sorted([*rates, further])
        return self._at(group, rates)

    def _at(self, group: Group, rates: Iterable[float]) -> list[RunConfig]:
        return [reference(*group).config(self.scale, lr, seed=0) for lr in rates]

    def _losses(self, configs: list[RunConfig]) -> dict[float, float | None] | None:
        """Rate -> validation loss (None: it diverged), once all of the runs are done."""
        if any(config.text not in self.results for config in configs):
            return None
        return {config.lr: self.results[config.text]["valid_loss"] for config in configs}

    def rate(self, group: Group) -> float | None:
        """The chosen learning rate, once its search is done."""
        losses = self._losses(self.search(group))
        return None if losses is None else chosen_rate(losses)

    def resolve(self, job: Job) -> RunConfig | None:
        """The job's config; None while its search is running."""
        if job.setting is None:
            return job.config
        lr = self.rate(job.setting.group)
        return None if lr is None else job.setting.config(self.scale, lr, job.seed)

    def take(self) -> RunConfig | None:
        """Remove and return the first run that is ready; None if all that are left wait for a search."""
        self.extend()
        for i, job in enumerate(self.jobs):
            if config := self.resolve(job):
                del self.jobs[i]
                return config
        return None

    def take_known(self, store: Store) -> int:
        """Move every job whose result is on disk into `results`; returns how many."""
        known, found = 0, True
        while found:  # a finished search may decide runs that are on disk too
            found = False
            self.extend()
            for job in list(self.jobs):
                config = self.resolve(job)
                if config and (result := store.get(config)):
                    self.results[config.text] = result
                    self.jobs.remove(job)
                    known, found = known + 1, True
        return known
