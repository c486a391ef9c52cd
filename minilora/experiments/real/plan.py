"""Which runs on the real model, in which order, and at which learning rates.

Every method's rate is searched alike: half a decade apart, on the first 200 pairs with seed 0, and while the best is
the lowest or highest tried, one rate further. The lowest loss on the meanings kept for it wins, and serves every size
and seed. Test meanings play no part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minilora.experiments.engine.plan import ATTENTION, MOST_RATES, beyond, chosen_rate, lora
from minilora.experiments.engine.run import Result
from minilora.experiments.real.data import Prompting
from minilora.experiments.real.run import RealConfig

MLP = ("gate_proj", "up_proj", "down_proj")
SEVEN = (*ATTENTION, *MLP)


class Way(NamedTuple):
    """A way to adapt: its label in tables, a method with its options, and the rates tried first."""

    label: str
    method: str
    options: dict[str, Any]
    rates: tuple[float, ...]


TUNED, LOW = (1e-3, 3e-3, 1e-2), (3e-5, 1e-4, 3e-4)
WAYS = {
    "lora": Way("LoRA, r = 4 on q, v", "lora", lora(4), TUNED),
    "full": Way("full fine-tuning", "full", {}, LOW),
    # table 5: as many parameters elsewhere, where whole ranks allow it
    "q": Way("q, r = 7", "lora", lora(7, ("q_proj",)), TUNED),
    "k": Way("k, r = 10", "lora", lora(10, ("k_proj",)), TUNED),
    "v": Way("v, r = 10", "lora", lora(10, ("v_proj",)), TUNED),
    "attention": Way("q, k, v, o, r = 2", "lora", lora(2, ATTENTION), TUNED),
    "mlp": Way("gate, up, down, r = 1", "lora", lora(1, MLP), TUNED),
    "seven": Way("all seven, r = 1", "lora", lora(1, SEVEN), TUNED),
    # table 6
    **{f"r{r}": Way(f"r = {r}", "lora", lora(r), TUNED) for r in (1, 2, 8, 64)},
    # after LoRA
    "dora": Way("DoRA", "dora", lora(4), TUNED),
    "pissa": Way("PiSSA", "pissa", lora(4), (3e-4, 1e-3, 3e-3)),
    "loraplus": Way("LoRA+, 16", "loraplus", lora(4) | {"ratio": 16.0}, (3e-4, 1e-3, 3e-3)),
    "vera": Way("VeRA, r = 256", "vera", {"r": 256, "target_modules": ["q_proj", "v_proj"]}, (3e-3, 1e-2, 3e-2)),
    # table 3
    "top2": Way("last two blocks", "top2", {}, (1e-4, 3e-4, 1e-3)),
    "bottleneck": Way("bottlenecks (Lin et al.), m = 5", "adapter_l", {"m": 5}, (3e-4, 1e-3, 3e-3)),
    "prefix": Way("prefix at every layer, 13 tokens", "pre_layer", {"l_p": 13, "l_i": 0}, (3e-3, 1e-2, 3e-2)),
}
PROMPTS = {
    "zero-shot, as in training": Prompting(),
    "zero-shot, in the model's chat format": Prompting(chat=True),
    "5 examples, as in training": Prompting(shots=5),
    "5 examples, in the model's chat format": Prompting(chat=True, shots=5),
}


@dataclass(frozen=True)
class Scale:
    """How much to compute: training pairs of a usual run, of the larger ones, of a search; seeds; and the most meanings
    to test on and to choose rates by (None: all)."""

    usual: int = 500
    larger: tuple[int, ...] = (1000, 3795)
    search: int = 200
    seeds: int = 3
    meanings: int | None = None
    searched: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        """Beside the usual one. The smallest is the search's, whose adapters are there already."""
        return (self.search, *self.larger)

    def rates(self, way: Way) -> tuple[float, ...]:
        return way.rates if self.searched else way.rates[1:2]


QUICK = Scale(usual=16, larger=(24,), search=8, seeds=1, meanings=3, searched=False)


class Cell(NamedTuple):
    """A number in a table: a key of WAYS, how many pairs, and a rate if it is not the searched one."""

    way: str
    train: int
    lr: float | None = None


@dataclass
class Plan:
    """The runs, and what is known of them.

    base, data, test  what every config names
    chat              whether the model has a chat format
    results           of finished runs, by the config's text
    """

    scale: Scale
    base: str
    data: str
    test: str
    chat: bool = True
    results: dict[str, Result] = field(default_factory=dict)

    def sections(self) -> dict[str, list[Cell]]:
        """Section -> its cells."""
        N = self.scale.usual
        shared = self.rate("lora")
        return {
            "headline": [Cell("lora", N), Cell("full", N)],
            "ranks": [Cell(f"r{r}", N) for r in (1, 2, 8, 64)],
            "matrices": [Cell(way, N) for way in ("seven", "attention", "q", "v", "mlp", "k")],
            "shared rate": [Cell(f"r{r}", N, shared) for r in (1, 2, 8, 64)] if shared else [],
            "variants": [Cell(way, N) for way in ("dora", "pissa", "loraplus", "vera")],
            "sizes": [Cell(way, size) for size in self.scale.sizes for way in ("lora", "full")],
            "methods": [Cell(way, N) for way in ("top2", "bottleneck", "prefix")],
        }

    def prompts(self) -> dict[str, RealConfig]:
        """Label -> the run that tests the base with such a prompt."""
        return {
            label: RealConfig("base", 0.0, 0, self.base, self.data, self.test, prompting=prompting)
            for label, prompting in PROMPTS.items()
            if self.chat or not prompting.chat
        }

    def configs(self) -> Iterator[RealConfig]:
        """Every run in order, as far as searches allow to know it: LoRA on the fewest pairs beside the base as it is;
        the headline; longer prompts; all else with the first seed, then with the next."""
        headline, *others = self.sections().values()
        yield from self._cells([Cell("lora", self.scale.search)], seed=0)
        yield from (config for config in self.prompts().values() if not config.prompting.shots)
        for seed in range(self.scale.seeds):
            yield from self._cells(headline, seed)
        yield from self.prompts().values()
        for seed in range(self.scale.seeds):
            for cells in others:
                yield from self._cells(cells, seed)

    def _cells(self, cells: list[Cell], seed: int) -> Iterator[RealConfig]:
        for cell in cells:
            yield from self.search(cell.way) if cell.lr is None else ()
            yield from self.runs(cell)[seed : seed + 1]

    def next(self) -> RealConfig | None:
        """The first run that is still to be made."""
        return next((config for config in self.configs() if config.text not in self.results), None)

    def runs(self, cell: Cell) -> list[RealConfig]:
        """A cell's runs, one per seed; none before its rate is known."""
        lr = self.rate(cell.way) if cell.lr is None else cell.lr
        return [] if lr is None else [self.config(cell.way, lr, cell.train, seed) for seed in range(self.scale.seeds)]

    def config(self, way: str, lr: float, train: int, seed: int = 0, tested: bool = True) -> RealConfig:
        _, method, options, _ = WAYS[way]
        return RealConfig(method, lr, train, self.base, self.data, self.test if tested else "", options, seed)

    def search(self, way: str) -> list[RealConfig]:
        """The runs that decide a rate: those tried first, then one further while the best is at an end."""
        rates = list(self.scale.rates(WAYS[way]))
        while self.scale.searched and len(rates) < MOST_RATES:
            losses = self.tried(way, rates)
            further = beyond(losses) if len(losses) == len(rates) else None
            if further is None:
                break
            rates = sorted([*rates, further])
        return [self._searching(way, lr) for lr in rates]

    def _searching(self, way: str, lr: float) -> RealConfig:
        return self.config(way, lr, self.scale.search, tested=False)

    def tried(self, way: str, rates: list[float]) -> dict[float, float | None]:
        """Rate -> loss where rates are chosen (None: it diverged), of the runs that are done."""
        done = {lr: self.results.get(self._searching(way, lr).text) for lr in rates}
        return {lr: result["valid_loss"] for lr, result in done.items() if result is not None}

    def rate(self, way: str) -> float | None:
        """The chosen rate, once its search is done."""
        rates = [config.lr for config in self.search(way)]
        losses = self.tried(way, rates)
        return chosen_rate(losses) if len(losses) == len(rates) else None

    def take_known(self, store: Any) -> int:
        """Find the results that are on disk; returns how many."""
        while (config := self.next()) and (result := store.get(config)):
            self.results[config.text] = result
        for config in self.configs():  # those after the first that is missing
            if config.text not in self.results and (result := store.get(config)):
                self.results[config.text] = result
        return len(self.results)
