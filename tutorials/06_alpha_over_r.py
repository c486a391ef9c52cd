# %% [markdown]
# # 6 · The scale α/r
#
# **After this lesson you can**
# - derive how far Adam's first step moves $W$, and how much of that movement is useful, for any rank;
# - say what $\alpha/r$ keeps constant when $r$ changes, what $\alpha/\sqrt{r}$ keeps constant, and why no scale keeps
#   both;
# - prove that tuning $\alpha$ is tuning the learning rate, and explain what the paper's "roughly" covers;
# - read the best learning rate at each rank off a sweep, and see where the miniature agrees with the paper.
#
# **You need** `pip install -e ".[plots]"`; lesson 3 (Adam), lesson 5 (LoRA and its gradients). It takes about 15
# seconds. The sweep of section 4 is read from `results/06_alpha_over_r.json`;
# `python tutorials/06_alpha_over_r.py --sweep` repeats it, in about four minutes on two idle cores.

# %%
import copy
import math

import numpy as np

import minilora as ml
from minilora.plots import BASE, LORA, OTHER, show_figure, subplots
from minilora.text import split

base, tokenizer = ml.load_base()
train_tokens, held_out = split(tokenizer.encode(ml.python_source()))
T = 64  # bytes in a window of text
train = ml.TextData(train_tokens, T)
validation = ml.TextData(held_out[: 32 * T + 1], T)
tokens, targets, _ = next(validation.batches(8))

# %% [markdown]
# ## 1. Adam's first step
# **Question.** $h = W_0 x + s B A x$ with $s = \alpha / r$: why divide by the rank at all?
#
# **Formula.** $A$ ($r \times k$) starts random, with entries of variance $1/k$, and $B$ ($d \times r$) starts at zero.
# So only $B$ moves in the first step, by its gradient $dB = s\, G A^\top$, where $G$ ($d \times k$) is the gradient
# that full fine-tuning would follow (lesson 5). Adam's first step moves *every* entry by the learning rate $\eta$,
# against the sign of its gradient, however small (lesson 3):
#
# $$ B = -\eta\, \mathrm{sign}(G A^\top), \qquad \Delta W = s B A $$
#
# Look at row $i$ of $\Delta W$. Write $g$ for row $i$ of $G$ and $a_1, \dots, a_r$ for the rows of $A$. The row is
# $-\eta s \sum_p \mathrm{sign}(g \cdot a_p)\, a_p$: a sum of $r$ random vectors, each flipped so that it points to the
# side of $g$. We can work out two things about such a sum.
#
# *How much it helps.* To first order, the loss changes by $\sum_{ij} G_{ij} \Delta W_{ij}$. One row contributes
# $-\eta s \sum_p |g \cdot a_p|$. Each $g \cdot a_p$ is Gaussian with standard deviation $\|g\| / \sqrt{k}$, and the
# mean absolute value of a Gaussian is $\sqrt{2/\pi}$ standard deviations. All $r$ terms have the same sign:
#
# $$ \text{change of the loss} \;\approx\; -\eta\, s\, r\, \sqrt{\tfrac{2}{\pi k}}\, \sum_i \|g_i\| \;\propto\; s\, r $$
#
# *How long it is.* ($\|\cdot\|_F$ is the square root of the sum of all squared entries.) Each $a_p$ has a length of
# about 1. Apart from its component along $g$, which is small when $k$ is large, it can point anywhere, and $r$ steps in
# random directions only take you $\sqrt{r}$ far:
#
# $$ \|\Delta W\|_F \;\approx\; \eta\, s\, \sqrt{d\, r}\, \sqrt{1 + \tfrac{2}{\pi} \tfrac{r - 1}{k}} \;\propto\; s
#    \sqrt{r} \quad (r \ll k) $$
#
# So the useful part grows with $r$ and the length with $\sqrt{r}$. A scale can cancel one of the two:
#
# | scale | $s$ | useful part $\propto s r$ | length $\propto s \sqrt{r}$ |
# |---|---|---|---|
# | none | 1 | grows as $r$ | grows as $\sqrt{r}$ |
# | the paper's (section 4.1) | $\alpha / r$ | **constant** | falls as $1/\sqrt{r}$ |
# | rank-stabilized (Kalajdzievski 2023) | $\alpha / \sqrt{r}$ | grows as $\sqrt{r}$ | **constant** |
#
# **Code.** One real step of Adam on the base, for each rank, with $s = 1$ and three random draws of $A$. (A different
# $s$ multiplies both numbers by $s$: it does not change Adam's step, and $\Delta W = s B A$.)

# %%
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
ETA = 1e-5  # small enough for "to first order" to be accurate; we check this
_, full = ml.loss_and_grads(base, tokens, targets)  # full[name] is G
k = d = base.config.n_embd


def adapted(r: int, alpha: float, seed: int) -> ml.GPT:
    config = ml.LoraConfig(r=r, lora_alpha=alpha, target_modules=("q_proj", "k_proj", "v_proj", "o_proj"))
    return ml.add_lora(copy.deepcopy(base), config, seed)


def first_step(r: int, seed: int) -> tuple[float, float, float]:
    """(change of the loss, the same to first order, length of all dW) for one step of Adam at s = 1."""
    model = adapted(r, r, seed)
    before, grads = ml.loss_and_grads(model, tokens, targets)
    ml.Adam(model, lr=ETA, eps=1e-30).step(grads)
    after, _ = ml.loss_and_grads(model, tokens, targets)
    deltas = {path: layer.delta() for path, layer in ml.lora_layers(model)}
    useful = sum(float((full[f"{path}.weight"] * dW).sum()) for path, dW in deltas.items())
    return after - before, useful, math.sqrt(sum(float((dW**2).sum()) for dW in deltas.values()))


steps = np.array([[first_step(r, seed) for seed in range(3)] for r in RANKS])  # (ranks, seeds, 3)
rows = sum(float(np.linalg.norm(full[f"{path}.weight"], axis=1).sum()) for path, _ in ml.lora_layers(adapted(1, 1, 0)))
matrices = len(list(ml.lora_layers(adapted(1, 1, 0))))
ranks = np.array(RANKS)
predicted = {
    "useful": -ETA * ranks * math.sqrt(2 / (math.pi * k)) * rows,
    "length": ETA * np.sqrt(matrices * d * ranks * (1 + 2 / math.pi * (ranks - 1) / k)),
}
print(f"{'r':>4}{'loss changes by':>18}{'first order':>14}{'predicted':>14}{'length':>12}{'predicted':>12}")
for r, (change, useful, length), u, n in zip(RANKS, steps.mean(axis=1), *predicted.values(), strict=True):
    print(f"{r:4}{change:18.2e}{useful:14.2e}{u:14.2e}{length:12.2e}{n:12.2e}")

# %% [markdown]
# What must hold: the prediction treats the rows of $A$ as many random directions. With three draws of a single row
# ($r = 1$) it is rough, and it improves as $r$ grows. From $r = 1$ to $r = 64$, the useful part grows by more than 32
# times and the length by less than 16.

# %%
mean = steps.mean(axis=1)
assert np.allclose(mean[:, 1], predicted["useful"], rtol=0.3)
assert np.allclose(mean[:, 2], predicted["length"], rtol=0.1)
assert (steps[:, :, 1] < 0).all(), "the first step always goes downhill"
one, sixty_four = mean[RANKS.index(1)], mean[RANKS.index(64)]
print(f"r = 64 against r = 1: useful part x {sixty_four[1] / one[1]:.0f}, length x {sixty_four[2] / one[2]:.1f}")
assert sixty_four[1] / one[1] > 32
assert sixty_four[2] / one[2] < 16
assert np.allclose(mean[3:, 0], mean[3:, 1], rtol=0.1), "the loss does change as the first-order formula predicts"

# %% [markdown]
# ## 2. Tuning α is tuning the learning rate
# **Question.** The paper (section 4.1): "When optimizing with Adam, tuning $\alpha$ is roughly the same as tuning the
# learning rate if we scale the initialization appropriately. As a result, we simply set $\alpha$ to the first $r$ we
# try and do not tune it." Is that true? What does "roughly" mean, and what is "appropriately"?
#
# **Formula.** Pick a number $c$ and rescale both factors: $A' = cA$, $B' = cB$. Then
#
# $$ \frac{\alpha}{r}\, B' A' = c^2\, \frac{\alpha}{r}\, B A $$
#
# so a model with $(\alpha, A', B')$ computes the same as a model with $(c^2 \alpha, A, B)$. Do they *stay* equal during
# training? The gradients get smaller, $dA' = dA / c$, but Adam divides each gradient by its own size and moves every
# entry by $\eta$ anyway. $A$ and $A'$ keep their ratio if the primed model takes steps $c$ times as long. So:
#
# > multiplying $\alpha$ by $c^2$ **is** multiplying the learning rate and the initial $A$ by $c$.
#
# **Code.** With $c = 2$, every number in one model is exactly a power of two times a number in the other, and
# multiplying by a power of two never rounds. So the two runs must agree *to the last bit*, for as long as we like.
# (Adam adds an $\epsilon$ to a quantity that scales, so we set it to almost zero; and we do not clip the norm of the
# gradients.)


# %%
def run(alpha: float, lr: float, A_times: float = 1.0, n_steps: int = 16, r: int = 8, seed: int = 0):
    """The losses of a short training run, and the trained model."""
    model, rng, losses = adapted(r, alpha, seed), np.random.default_rng(seed), []
    for _, layer in ml.lora_layers(model):
        layer.lora_A.data *= np.float32(A_times)
    optimizer = ml.Adam(model, lr, eps=1e-30)
    for _ in range(n_steps):
        batch = train.sample(rng, 8)
        loss, grads = ml.loss_and_grads(model, batch.tokens, batch.targets, workers=2)
        optimizer.step(grads)
        losses.append(loss)
    return losses, model


larger_alpha, one_model = run(alpha=32, lr=2e-3)
larger_rate, other_model = run(alpha=8, lr=4e-3, A_times=2)
assert larger_alpha == larger_rate, "every loss, every bit"
for (_, one_layer), (_, other_layer) in zip(ml.lora_layers(one_model), ml.lora_layers(other_model), strict=True):
    assert np.array_equal(2 * one_layer.lora_A.data, other_layer.lora_A.data)
    assert np.array_equal(2 * one_layer.lora_B.data, other_layer.lora_B.data)
    assert np.array_equal(one_layer.delta(), other_layer.delta())
print(f"alpha = 32, lr = 0.002 and alpha = 8, lr = 0.004, A doubled: {len(larger_alpha)} equal losses, to the last bit")
print(f"the last of them: {larger_alpha[-1]!r} and {larger_rate[-1]!r}")

# %% [markdown]
# "Scale the initialization appropriately" means doubling $A$, and "roughly" covers what happens if you do not. Then
# $\alpha$ and $\eta$ are two knobs for three things: how fast $B$ moves $W$, how fast $A$ does, and how random $A$
# remains. In the first steps only $B$ matters: $\Delta W = s B A$ and $B$ moves by $\eta$, so $s\,\eta$ counts, and
# $4 \alpha$ acts like $4 \eta$. Once $A$ has moved far from its start, $s\,\eta^2$ counts, and $4\alpha$ acts like
# $2\eta$. So the best learning rate should fall as $s$ grows, faster than $1/\sqrt{s}$ and slower than $1/s$. Section 4
# checks this.
#
# ## 3. What to expect of the best learning rate
# **Question.** You have tuned $\eta$ at one rank. Is it right for another?
#
# **Formula.** If the best step is one with a certain useful part, $\eta s r$ should stay the same, so the best
# $\eta \propto 1/(s r)$. If it is one with a certain length, $\eta s \sqrt{r}$ should stay the same, so
# $\eta \propto 1 / (s \sqrt{r})$:
#
# | scale | best $\eta$, if the useful part decides | if the length decides |
# |---|---|---|
# | none | falls as $1/r$ | falls as $1/\sqrt{r}$ |
# | $\alpha / r$ | constant | grows as $\sqrt{r}$ |
# | $\alpha / \sqrt{r}$ | falls as $1/\sqrt{r}$ | constant |
#
# If the useful part decides, having no scale is the worst choice and $\alpha/r$ the best. If the length decides, no
# scale and $\alpha/r$ are equally far off, in opposite directions, and $\alpha/\sqrt{r}$ is best. In a longer run $A$
# moves too, and the truth need not be in this table at all. The paper claims only that $\alpha/r$ "helps to reduce the
# need to retune" (section 4.1), not that it removes it.
#
# ## 4. The sweep
# **Number.** The held-out loss after 24 steps, for ten learning rates, three ranks, three scales and three seeds. All
# scales are made equal at $r = 8$, where $s = 1$. These are all the settings that were tried; the rates reach beyond
# the best one on both sides, for every rank and scale (asserted).

# %%
import hashlib
import json
import sys
from pathlib import Path

SWEEP_RANKS, REFERENCE = (1, 8, 64), 8
RATES = [2.0**-e for e in range(13, 3, -1)]
SEEDS = (0, 1, 2)
SCALES = {
    "none": lambda r: 1.0,
    "alpha/r": lambda r: REFERENCE / r,
    "alpha/sqrt(r)": lambda r: math.sqrt(REFERENCE / r),
}
HERE = Path(__file__).parent if "__file__" in globals() else Path()  # a notebook runs in its folder
RESULTS = HERE / "results" / "06_alpha_over_r.json"


def final_loss(r: int, s: float, lr: float, seed: int) -> float:
    """Held-out loss (nats per byte) after 24 steps at a constant learning rate; infinite if the run diverges."""
    model = adapted(r, s * r, seed)
    try:
        ml.fit(model, train, steps=24, lr=lr, batch_size=4, seed=seed, workers=2, progress=False)
    except ml.NonFiniteLossError:
        return math.inf
    return ml.evaluate(model, validation, workers=2)


def sweep() -> list[dict]:
    """One record per setting (r, s, learning rate), with the losses of all seeds."""
    records = []
    for r, s in dict.fromkeys((r, scale(r)) for r in SWEEP_RANKS for scale in SCALES.values()):
        for lr in RATES:
            losses = [final_loss(r, s, lr, seed) for seed in SEEDS]
            records.append({"r": r, "s": s, "lr": lr, "losses": losses})
        print(f"r = {r}, s = {s:.3f}: {[round(float(np.mean(each['losses'])), 3) for each in records[-len(RATES) :]]}")
    return records


weights = hashlib.sha256(b"".join(array.tobytes() for array in base.state_dict().values())).hexdigest()
if "--sweep" in sys.argv or not RESULTS.exists():
    RESULTS.parent.mkdir(exist_ok=True)
    made = {"command": "python tutorials/06_alpha_over_r.py --sweep", "numpy": np.__version__, "base": weights}
    RESULTS.write_text(json.dumps({**made, "records": sweep()}, indent=1) + "\n", encoding="utf-8")
results = json.loads(RESULTS.read_text(encoding="utf-8"))
assert results["base"] == weights, "the results are for a different base: run this lesson with --sweep"
losses = {(record["r"], record["s"], record["lr"]): np.array(record["losses"]) for record in results["records"]}


print("the cost of one learning rate for all ranks (the one that is best at r = 8), in nats per byte:")
one_rate = min(RATES, key=lambda lr: losses[REFERENCE, 1.0, lr].mean())
cost = {}
for name, scale in SCALES.items():
    lowest = [min(losses[r, scale(r), lr].mean() for lr in RATES) for r in SWEEP_RANKS]
    cost[name] = [losses[r, scale(r), one_rate].mean() - low for r, low in zip(SWEEP_RANKS, lowest, strict=True)]
    print(f"{name:<16}" + "".join(f"{f'r = {r}':>8} {c:.3f}" for r, c in zip(SWEEP_RANKS, cost[name], strict=True)))
assert max(cost["none"]) > 2 * max(*cost["alpha/r"], *cost["alpha/sqrt(r)"])

# %% [markdown]
# This is the claim of the paper, and it holds clearly: with either scale, the rate that is best at $r = 8$ is nearly
# best at the other ranks; without one, it costs several times as much. (Both scales are meant to need no retuning, and
# this test cannot tell them apart.)
#
# Where exactly is the best rate? Near its minimum the loss hardly depends on the rate, so the lowest of ten noisy
# values is a poor estimate. We fit a parabola to the loss against $\log_2 \eta$ through the lowest point and two
# neighbours on each side, and take its lowest point, seed by seed. The scatter over the seeds is the uncertainty.


# %%
def best_log_rate(r: int, s: float, seed: int) -> float:
    """log2 of the best learning rate of one seed: the lowest point of a parabola through the five lowest losses."""
    curve = np.array([losses[r, s, lr][seed] for lr in RATES])
    i = int(curve.argmin())
    assert 2 <= i < len(RATES) - 2, "the grid reaches beyond the best rate"
    near = slice(i - 2, i + 3)
    a, b, _ = np.polyfit(np.log2(RATES[near]), curve[near], 2)
    return -b / (2 * a)


best = {
    name: np.array([[best_log_rate(r, scale(r), seed) for seed in SEEDS] for r in SWEEP_RANKS])
    for name, scale in SCALES.items()
}  # (ranks, seeds)
print(f"{'scale':<16}" + "".join(f"{f'best rate at r = {r}':>28}" for r in SWEEP_RANKS) + "      as r^power")
power = {}
for name, logs in best.items():
    slopes = np.polyfit(np.log2(SWEEP_RANKS), logs, 1)[0]  # one for each seed
    power[name] = slopes.mean(), slopes.std(ddof=1) / len(SEEDS) ** 0.5
    cells = (f"{2 ** each.mean():.5f} x/÷ {2 ** each.std(ddof=1):.2f}" for each in logs)
    print(f"{name:<16}" + "".join(f"{cell:>28}" for cell in cells) + "   {:+.2f} ± {:.2f}".format(*power[name]))
assert power["none"][0] + 4.3 * power["none"][1] < min(power["alpha/r"][0], power["alpha/sqrt(r)"][0])

# %% [markdown]
# Without a scale, the best rate falls with $r$, clearly and on every seed; with either scale it changes far less. Set
# the powers beside the table of section 3. They have standard errors (three seeds: multiply by 4.3 for a 95 %
# interval), and three ranks are few points for a power law. So read them as "falls" or "about constant"; do not read a
# second digit. And 24 steps are just the beginning of a run, where the useful part and the length of the first steps
# still matter. From long runs at high rank, Kalajdzievski (2023) argues that $\alpha/\sqrt{r}$ is the scale at which
# learning neither stalls nor explodes, and that $\alpha/r$ makes high ranks learn too slowly.
#
# ## 5. The picture

# %%
LOOKS = {
    "none": ("none: $s = 1$", dict(color=OTHER, linestyle="--", marker="s")),
    "alpha/r": (r"$\alpha/r$", dict(color=LORA, linestyle="-", marker="o")),
    "alpha/sqrt(r)": (r"$\alpha/\sqrt{r}$", dict(color=BASE, linestyle=":", marker="^")),
}
figure, panels = subplots(1, 3, figsize=(10.5, 3.7))
for name, scale in SCALES.items():
    label, look = LOOKS[name]
    s = np.array([scale(r) for r in RANKS])
    for panel, column in zip(panels[:2], (1, 2), strict=True):
        values = np.abs(steps[:, :, column]) * s[:, None]
        values = values / values[RANKS.index(REFERENCE)].mean()
        panel.errorbar(ranks, values.mean(axis=1), values.std(axis=1, ddof=1), capsize=2, label=label, **look)
    rates = 2.0 ** best[name]
    middles = np.median(rates, axis=1)
    error = np.array([middles - rates.min(axis=1), rates.max(axis=1) - middles])
    panels[2].errorbar(SWEEP_RANKS, middles, error, capsize=3, label=label, **look)
panels[0].set(title="Useful part of the first step", ylabel=r"drop in loss (1 at $r = 8$)")
panels[1].set(title="Length of the first step", ylabel=r"$\|\Delta W\|_F$ (1 at $r = 8$)")
panels[2].set(title="Best learning rate (24 steps)", ylabel="learning rate")
for panel in panels:
    panel.set_xscale("log", base=2)
    panel.set(xlabel="rank r", yscale="log")
    panel.set_xticks([1, 8, 64], ["1", "8", "64"])
panels[1].sharey(panels[0])
panels[0].legend()
show_figure(figure, "06_alpha_over_r.png")

# %% [markdown]
# Left and middle: mean and standard deviation of three draws of $A$; a scale that keeps the quantity constant gives a
# flat curve. Right: the median and range of three seeds.
#
# ## What to try next
# - Derive both formulas of section 1 for plain gradient descent, $B = -\eta\, dB$. Which powers of $s$ and $r$ come
#   out, and why would $\alpha/r$ have been a different choice without Adam?
# - Run `run(alpha=32, lr=2e-3)` against `run(alpha=8, lr=4e-3)` without doubling $A$. How far apart are the losses
#   after 16 steps, and after 100?
# - Use $c = 3$ in section 2. Which is the first loss that differs between the two runs, and by how much? Why?
# - `ml.LoraConfig(use_rslora=True)` uses $\alpha/\sqrt{r}$. Which $\alpha$ makes it equal to the paper's at $r = 8$?
# - Exercise 17 (scaling).
