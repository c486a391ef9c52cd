"""The playground's model lab: LoRA on the shipped base, one step per call, with everything that the page draws.

The page sends settings (see `DEFAULTS`) and gets dictionaries of numbers, text and flat float32 arrays back.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import minilora as ml
from minilora.files.training import load_training, save_training
from minilora.lora import is_merged
from minilora.nn import normal
from minilora.text import split

DEFAULTS: dict[str, Any] = {
    "task": "upper",  # or "source", or "own" with a `text`
    "start": "lora",
    "r": 4,
    "alpha": 4.0,
    "lr": 5e-3,
    "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
    "rows": 4,  # windows in a batch
    "seed": 0,
    "text": "",
}
STARTS = {
    "lora": (True, False),
    "mirror": (False, True),
    "zero": (False, False),
    "random": (True, True),
}  # A, B random?
WINDOW = 32  # bytes
HELD_OUT = 16  # windows that a loss is measured on
LEAST_TEXT = 20 * WINDOW  # bytes of a text of one's own
PROMPT = "The import statement "


def task_text(task: str, text: str = "") -> str:
    """What a task's LoRA learns to write."""
    if task == "upper":
        return ml.python_docs().upper()
    if task == "source":
        return ml.python_source(400_000)
    if len(text.encode()) < LEAST_TEXT:
        raise ValueError(f"this text has {len(text.encode())} bytes: give at least {LEAST_TEXT}")
    return text


class Lab:
    """One model in training, and the untouched base beside it."""

    def __init__(self) -> None:
        self.base, self.tokenizer = ml.load_base()
        self.old = self._windows(split(self.tokenizer.encode(ml.python_docs()))[1])

    def _windows(self, tokens: np.ndarray) -> ml.TextData:
        return ml.TextData(tokens[: HELD_OUT * WINDOW + 1], WINDOW)

    # --------------------------------------------------------------------------------------------- start, change

    def reset(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Begin a run. Returns `measure()`."""
        self.settings = s = {**DEFAULTS, **settings}
        tokens, held_out = split(self.tokenizer.encode(task_text(s["task"], s["text"])))
        self.data, self.new = ml.TextData(tokens, WINDOW), self._windows(held_out)
        self.model = copy.deepcopy(self.base)
        self.optimizer = ml.Adam(self.model, s["lr"])
        self.rng, self.losses = np.random.default_rng(s["seed"]), list[float]()
        self._add_lora()
        return self.measure()

    def _add_lora(self) -> None:
        s = self.settings
        config = ml.LoraConfig(r=s["r"], lora_alpha=s["alpha"], target_modules=tuple(s["targets"]))
        ml.add_lora(self.model, config, s["seed"])
        random_A, random_B = STARTS[s["start"]]
        rng = np.random.default_rng(s["seed"] + 1)
        for _, layer in ml.lora_layers(self.model):
            if not random_A:
                layer.lora_A.data[...] = 0
            if random_B:
                layer.lora_B.data[...] = normal(rng, layer.lora_B.shape, s["r"] ** -0.5, "float32")

    def change(self, settings: dict[str, Any]) -> dict[str, Any]:
        """New r, alpha, lr or matrices in the middle of a run.  Returns `measure()`.

        A and B keep what they have learned. A larger r adds rows to A and columns to B as a new start would draw them:
        with B's at zero, s B A stays as it is if s does. A smaller r drops the last ones.
        """
        kept = {p.name: p.data for p in self.model.parameters if p.trainable}
        moments = (self.optimizer.m, self.optimizer.v)
        self.settings = {**self.settings, **settings}
        self.optimizer.lr = self.settings["lr"]
        ml.remove_lora(self.model)
        self._add_lora()
        new = {p.name: p.data for p in self.model.parameters if p.trainable}
        self.optimizer.m, self.optimizer.v = (
            {name: _within(np.zeros_like(new[name]), part[name]) for name in part if name in new} for part in moments
        )
        for name in new.keys() & kept.keys():
            _within(new[name], kept[name])
        return self.measure()

    # --------------------------------------------------------------------------------------------- train, measure

    def step(self) -> dict[str, Any]:
        """One step of Adam on A and B: the loss before it, in nats per byte, and its milliseconds."""
        start = time.perf_counter()
        batch = self.data.sample(self.rng, self.settings["rows"])
        loss, grads = ml.loss_and_grads(self.model, batch.tokens, batch.targets)
        self.optimizer.step(grads)
        self.losses.append(float(loss))
        return {"step": len(self.losses), "loss": float(loss), "ms": 1000 * (time.perf_counter() - start)}

    def measure(self) -> dict[str, Any]:
        """The losses on held-out windows of the new text and of the old, Python's documentation; and what trains."""
        trained = sum(p.size for p in self.model.parameters if p.trainable)
        return {
            "step": len(self.losses),
            "new": ml.evaluate(self.model, self.new),
            "old": ml.evaluate(self.model, self.old),
            "trained": trained,
            "all": sum(p.size for p in self.base.parameters),
        }

    def without(self) -> dict[str, float]:
        """The losses with the adapter taken off: the base's."""
        return {"new": ml.evaluate(self.base, self.new), "old": ml.evaluate(self.base, self.old)}

    def sample(self, adapter: bool = True, length: int = 48) -> str:
        """What the model writes after the prompt, the likeliest byte each time; with the adapter or without."""
        prompt = PROMPT if self.settings["task"] != "upper" else PROMPT.upper()
        tokens = self.tokenizer.encode(prompt)
        written = ml.generate(self.model if adapter else self.base, tokens, length, temperature=0)
        return self.tokenizer.decode(written)

    def logits(self) -> np.ndarray:
        """The scores at the held-out windows, laid flat."""
        tokens = next(self.new.batches(HELD_OUT)).tokens
        return self.model(tokens).ravel()

    # --------------------------------------------------------------------------------------------- look inside

    def layers(self) -> list[str]:
        """The paths of the adapted matrices."""
        return [path for path, _ in ml.lora_layers(self.model)]

    def picture(self, path: str) -> dict[str, Any]:
        """W0, A and B of a matrix, s, and the r + 1 largest singular values of s B A.

        A matrix is {"shape": [rows, columns], "data": row by row}.
        """
        layer = dict(ml.lora_layers(self.model))[path]
        W0 = self.base.named_parameters()[f"{path}.weight"].data
        return {
            "s": layer.scaling,
            "singular": np.linalg.svd(layer.delta(), compute_uv=False)[: layer.r + 1].tolist(),
            **{
                name: {"shape": list(each.shape), "data": each.ravel()}
                for name, each in (("W0", W0), ("A", layer.lora_A.data), ("B", layer.lora_B.data))
            },
        }

    def frozen_hash(self) -> str:
        """SHA-256 of every frozen array of the model."""
        digest = hashlib.sha256()
        for p in self.model.parameters:
            if not p.trainable:
                digest.update(p.data.tobytes())
        return digest.hexdigest()

    def slow(self, path: str) -> list[dict[str, Any]]:
        """One step on the same path as `step`, with what it computes for one matrix, line by line of `lora.py`."""
        layer, seen = dict(ml.lora_layers(self.model))[path], dict[str, np.ndarray]()
        branch, backward = layer.branch, layer.branch_backward

        def spy(x: np.ndarray, rng: Any) -> Any:
            seen["x"] = _joined(seen.get("x"), x)
            return branch(x, rng)

        def spy_backward(dz: np.ndarray, *rest: Any) -> Any:
            seen["dz"] = _joined(seen.get("dz"), dz)
            return backward(dz, *rest)

        A, B, s = layer.lora_A.data.copy(), layer.lora_B.data.copy(), layer.scaling
        layer.branch, layer.branch_backward = spy, spy_backward
        try:
            self.step()
        finally:
            del layer.branch, layer.branch_backward
        x, dz = seen["x"], seen["dz"]
        h, dh = s * x @ A.T, s * dz @ B
        values = {
            "h": h,
            "z": h @ B.T,
            "dB": dz.T @ h,
            "dh": dh,
            "dA": dh.T @ x,
            "B": layer.lora_B.data - B,
            "A": layer.lora_A.data - A,
        }
        return [
            {"id": name, "shape": list(values[name].shape), "norm": float(np.linalg.norm(values[name])), **LINES[name]}
            for name in LINES
        ]

    # --------------------------------------------------------------------------------------------- merge, save, tell

    def merge(self) -> dict[str, Any]:
        """W <- W0 + s B A: the largest difference that it makes to a logit, and its milliseconds."""
        before, start = self.logits(), time.perf_counter()
        ml.merge(self.model)
        ms = 1000 * (time.perf_counter() - start)
        return {"difference": float(np.abs(self.logits() - before).max()), "ms": ms, "merged": True}

    def unmerge(self, times: int = 0) -> dict[str, Any]:
        """Put W0 back, the very bits that were kept; then merge and subtract s B A `times` times, as the paper does.

        Returns how far the weights have drifted from W0. (They are put back afterwards.)
        """
        start = time.perf_counter()
        ml.unmerge(self.model)
        for _ in range(times):
            ml.unmerge(ml.merge(self.model, keep_base=False))
        ms = 1000 * (time.perf_counter() - start)
        base, drift = self.base.named_parameters(), 0.0
        for path, layer in ml.lora_layers(self.model):
            W0 = base[f"{path}.weight"].data
            drift = max(drift, float(np.abs(layer.weight.data - W0).max()))
            layer.weight.data[...] = W0
        return {"difference": drift, "ms": ms, "merged": is_merged(self.model)}

    def save(self) -> bytes:
        """The run as a file of `minilora`'s: A, B, Adam's moments, the losses, the generator."""
        record = {"settings": self.settings, "losses": self.losses, "rng": self.rng.bit_generator.state}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.npz"
            save_training(path, self.model, self.optimizer, record, {})
            return path.read_bytes()

    def load(self, settings: dict[str, Any], saved: bytes) -> dict[str, Any]:
        """Continue a saved run as if it had never stopped.  Returns `measure()`."""
        self.reset(settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.npz"
            path.write_bytes(bytes(saved))
            record, _ = load_training(path, self.model, self.optimizer)
        self.losses = record["losses"]
        self.rng.bit_generator.state = record["rng"]
        return self.measure()

    def code(self, steps: int) -> str:
        """A program that makes this run from its start: its last line prints the loss of step `steps`."""
        s = self.settings
        text = {"upper": "ml.python_docs().upper()", "source": "ml.python_source(400_000)"}.get(
            s["task"], 'open("my_text.txt", encoding="utf-8").read()'
        )
        lines = [
            "import numpy as np",
            "import minilora as ml",
            "from minilora.text import split",
            "",
            "model, tokenizer = ml.load_base()",
            f"tokens, held_out = split(tokenizer.encode({text}))",
            f"data = ml.TextData(tokens, {WINDOW})",
            f"config = ml.LoraConfig(r={s['r']}, lora_alpha={s['alpha']}, target_modules={tuple(s['targets'])})",
            f"ml.add_lora(model, config, seed={s['seed']})",
            *_start_lines(s),
            f"optimizer, rng = ml.Adam(model, lr={s['lr']}), np.random.default_rng({s['seed']})",
            f"for step in range({steps}):",
            f"    batch = data.sample(rng, {s['rows']})",
            "    loss, grads = ml.loss_and_grads(model, batch.tokens, batch.targets)",
            "    optimizer.step(grads)",
            "print(float(loss))",
        ]
        return "\n".join(lines) + "\n"


Page = Lab  # what worker.mjs makes one of


def _start_lines(s: dict[str, Any]) -> list[str]:
    random_A, random_B = STARTS[s["start"]]
    lines = [] if random_A else ["    layer.lora_A.data[...] = 0"]
    if random_B:
        normal_B = f"rng.standard_normal(layer.lora_B.shape) * {s['r']} ** -0.5"
        lines.append(f"    layer.lora_B.data[...] = ({normal_B}).astype('float32')")
    head = [f"rng = np.random.default_rng({s['seed'] + 1})"] if random_B else []
    return [*head, "for _, layer in ml.lora_layers(model):", *lines] if lines else []


def _within(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """`new`, with the entries of `old` where both have one."""
    common = tuple(slice(min(n, o)) for n, o in zip(new.shape, old.shape, strict=True))
    new[common] = old[common]
    return new


def _joined(before: np.ndarray | None, part: np.ndarray) -> np.ndarray:
    """The rows of one piece of the batch after those of the pieces before it."""
    rows = part.reshape(-1, part.shape[-1]).copy()
    return rows if before is None else np.concatenate([before, rows])


def _line(function: Any, part: str, equation: str) -> dict[str, Any]:
    """An equation, and where the package's source computes it: the one line of a function that contains this."""
    lines, first = inspect.getsourcelines(function)
    ((at, code),) = ((i, line.strip()) for i, line in enumerate(lines) if part in line)
    return {"equation": equation, "file": Path(inspect.getfile(function)).name, "line": first + at, "code": code}


_Branch = ml.lora.LoraBranch
LINES = {  # what a step computes for one matrix, in order
    "h": _line(_Branch.branch, "h = ops.linear(x, self.lora_A.data)", "h = s x Aᵀ"),
    "z": _line(_Branch.branch, "z = ops.linear(h, self.lora_B.data)", "z = h Bᵀ"),
    "dB": _line(_Branch.branch_backward, "ops.linear_dW(dz, cache.h)", "dB = dzᵀ h"),
    "dh": _line(_Branch.branch_backward, "dh = ops.linear_dx(dz, self.lora_B.data)", "dh = s dz B"),
    "dA": _line(_Branch.branch_backward, "ops.linear_dW(dh, cache.x)", "dA = dhᵀ x"),
    "B": _line(ml.Adam._update, "w -= root", "B ← B − Adam(dB)"),
    "A": _line(ml.Adam._update, "w -= root", "A ← A − Adam(dA)"),
}
