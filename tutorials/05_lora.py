# %% [markdown]
# # 5 · LoRA: W₀ + (α/r) B A
#
# **After this lesson you can**
# - write a LoRA layer, forward and backward, in ten lines, and have it checked;
# - read both of its gradients off one matrix, the gradient that full fine-tuning would follow;
# - say what each of the four ways to start $A$ and $B$ does on the first two steps, and why the paper's is the one;
# - tell what follows from the two gradients from what only a measurement can say.
#
# **You need** `pip install -e ".[test]"`; lesson 1 (a layer's gradients) and lesson 3 (Adam). Lesson 4 shows why one
# would look for an update of low rank. About 30 seconds on two idle cores.

# %%
import copy

import numpy as np

import minilora as ml
from minilora.demo import ATTENTION
from minilora.nn import normal
from minilora.plots import BASE, LORA, OTHER, show_figure, subplots
from minilora.testing.check import check_lora
from minilora.text import split

# %% [markdown]
# ## 1. The layer
# **Question.** A layer has a weight $W_0$ with $d$ rows and $k$ columns: it turns an input $x$ of $k$ numbers into
# $d$ numbers. Fine-tuning may change all $dk$ of them. How does one train fewer, and still change the whole matrix?
#
# **Formula** (Hu et al. 2021, eq. 3, with the scale of the paragraph below it). Leave $W_0$ alone and add a product
# of two thin matrices:
#
# $$ h = W_0 x + \frac{\alpha}{r} B A x, \qquad B \in \mathbb{R}^{d \times r}, \quad A \in \mathbb{R}^{r \times k} $$
#
# The *rank* $r$ is a small number that we choose: $\Delta W = \frac{\alpha}{r} B A$ has $dk$ entries, but all its
# columns are mixtures of the $r$ columns of $B$. $\alpha$ is a number that we choose once; write $s = \alpha / r$
# (lesson 6 is about $s$). Only $A$ and $B$ train: $r(d + k)$ numbers instead of $dk$.
#
# In code an input is a *row* and a batch of $n$ of them a matrix $x$ ($n \times k$), so
# $h = x W_0^\top + s\,(x A^\top) B^\top$. The brackets matter: two thin products a row, and the $d \times k$ matrix
# $BA$ is never formed.


# %%
def forward(x, W0, A, B, s):
    """h = x W0^T + s (x A^T) B^T.  x (n, k), W0 (d, k), A (r, k), B (d, r) -> (n, d)."""
    return x @ W0.T + s * (x @ A.T) @ B.T


rng = np.random.default_rng(0)
d, k, r, alpha = 48, 64, 4, 8
W0, B, A = (rng.standard_normal(shape) for shape in ((d, k), (d, r), (r, k)))
delta_W = alpha / r * B @ A
print(f"rank of the update {np.linalg.matrix_rank(delta_W)}; {r * (d + k)} numbers train instead of {d * k}")
assert np.linalg.matrix_rank(delta_W) == r
assert A.size + B.size == r * (d + k) < d * k

# %% [markdown]
# ## 2. Its gradients
# **Question.** How must $A$ and $B$ move so that the loss $L$ falls?
#
# **Formula.** Write $dh$ ($n \times d$) for $\partial L / \partial h$, which comes back from the layers above. If
# $W = W_0 + \Delta W$ trained as a whole, its gradient would be that of any linear layer (lesson 1):
#
# $$ G = \frac{\partial L}{\partial W} = dh^\top x \qquad (d \times k) $$
#
# Now $W_{ij} = W_{0,ij} + s \sum_p B_{ip} A_{pj}$. Changing $B_{ip}$ changes row $i$ of $W$, each entry $W_{ij}$ by
# $s A_{pj}$; changing $A_{pj}$ changes column $j$, each $W_{ij}$ by $s B_{ip}$. The chain rule sums over what
# changed:
#
# $$ \frac{\partial L}{\partial B_{ip}} = s \sum_j G_{ij} A_{pj} \;\Rightarrow\; dB = s\, G A^\top \qquad\qquad
#    \frac{\partial L}{\partial A_{pj}} = s \sum_i B_{ip} G_{ij} \;\Rightarrow\; dA = s\, B^\top G $$
#
# Remember these two. Each factor sees $G$ only through the other one, and everything in this lesson follows from it.
# Put in $G = dh^\top x$, and no $d \times k$ matrix is needed here either.


# %%
def backward(dh, x, W0, A, B, s):
    """(dx, dA, dB) of the loss whose gradient at h is dh.  W0 is frozen: it has no gradient."""
    dB = s * dh.T @ (x @ A.T)
    dA = s * (dh @ B).T @ x
    dx = dh @ W0 + s * (dh @ B) @ A
    return dx, dA, dB


check_lora(forward=forward, backward=backward, max_examples=50)
print("forward is that formula; with B = 0 it is the base layer; dx, dA and dB are the finite differences")

# %% [markdown]
# `check_lora` drew 50 layers of many shapes, ranks and scales and compared every entry with
# $(L(P + \varepsilon) - L(P - \varepsilon)) / 2\varepsilon$, within a bound on rounding. Break a line of `backward`
# and run the cell again: it says what is wrong.
#
# The same two formulas in a real transformer: full fine-tuning's gradient $G$ of each attention matrix gives both of
# LoRA's gradients. In double precision (16 digits), so that equal means equal:

# %%
base, tokenizer = ml.load_base()
train_tokens, held_out = split(tokenizer.encode(ml.python_source()))
T = 64  # bytes in a window of text
train = ml.TextData(train_tokens, T)
validation = ml.TextData(held_out[: 64 * T + 1], T)
tokens, targets, _ = next(validation.batches(8))

double = ml.GPT(ml.GPTConfig(**{**vars(base.config), "dtype": "float64"}))
double.load_state_dict(base.state_dict())
_, full = ml.loss_and_grads(double, tokens, targets)  # full[name + ".weight"] is G

ml.add_lora(double, ml.LoraConfig(r=4, lora_alpha=8, target_modules=ATTENTION))
for _, layer in ml.lora_layers(double):
    # A tiny B, so that dA is not zero, and so small that it moves G by no more than the digits that we leave out.
    layer.lora_B.data[...] = 1e-12 * rng.standard_normal(layer.lora_B.shape)
_, grads = ml.loss_and_grads(double, tokens, targets)
worst = 0.0
for path, layer in ml.lora_layers(double):
    G, A, B, s = full[f"{path}.weight"], layer.lora_A.data, layer.lora_B.data, layer.scaling
    for computed, formula in ((grads[f"{path}.lora_B"], s * G @ A.T), (grads[f"{path}.lora_A"], s * B.T @ G)):
        worst = max(worst, np.linalg.norm(computed - formula) / np.linalg.norm(formula))
print(f"dB = s G A^T and dA = s B^T G in all {len(list(ml.lora_layers(double)))} matrices, to {worst:.0e}")
assert worst < 1e-9

# %% [markdown]
# ## 3. Four ways to start
# **Question.** What should $A$ and $B$ be before the first step?
#
# **Formula.** Read it off $\Delta W = s B A$, $dB = s G A^\top$ and $dA = s B^\top G$:
#
# | start | $\Delta W$ | $dB$ | $dA$ | so |
# |---|---|---|---|---|
# | $A$ random, $B = 0$ (section 4.1) | 0 | $s G A^\top$ | **0** | starts as the base; $B$ moves first, $A$ follows |
# | $A = 0$, $B$ random | 0 | **0** | $s B^\top G$ | starts as the base; $A$ moves first, $B$ follows |
# | $A = 0$, $B = 0$ | 0 | **0** | **0** | never moves |
# | both random | noise | $s G A^\top$ | $s B^\top G$ | moves, but the model is damaged first |
#
# The third start is a saddle point, no minimum: for small $A$ and $B$ the loss changes by
# $s \sum_{ij} G_{ij} (BA)_{ij}$, which takes either sign (replace $B$ by $-B$). No gradient says so.
#
# The random numbers are Gaussian. Their size: $x A^\top$ is a sum of $k$ products, so entries of variance $1/k$ give
# it the scale of $x$; and $B$ sums $r$ terms, so $1/r$ does the same for $B$ (the first two starts are called Init[A]
# and Init[B] by Hayou, Ghosh and Yu 2024).
#
# **Code.** All four on all attention matrices ($W_q, W_k, W_v, W_o$ of every block, lesson 2) of the base, which
# knows Python's documentation; the task is Python's source. The logits (the model's scores) before the first step,
# then the gradients at step 0, one step of Adam, the gradients at step 1. A matrix of numbers is shown as one, its
# Frobenius norm: the root of the sum of all squares.

# %%
RANK = ALPHA = 4  # so s = 1
STARTS = {  # name: (is A random?, is B random?)
    "A random, B = 0 (LoRA)": (True, False),
    "A = 0, B random": (False, True),
    "A = 0, B = 0": (False, False),
    "both random": (True, True),
}
PAPER, REVERSED, ZERO, RANDOM = STARTS


def started(start: str, seed: int) -> ml.GPT:
    """The base with a LoRA that starts in one of the four ways."""
    config = ml.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=ATTENTION)
    model = ml.add_lora(copy.deepcopy(base), config, seed)  # A random, B = 0
    random_A, random_B = STARTS[start]
    rng = np.random.default_rng(seed)
    for _, layer in ml.lora_layers(model):
        layer.lora_A.data *= random_A
        if random_B:
            layer.lora_B.data[...] = normal(rng, layer.lora_B.shape, RANK**-0.5, "float32")
    return model


def norm(grads, ending: str) -> float:
    """The Frobenius norm of all dA ("A") or all dB ("B") together."""
    return float(np.sqrt(sum((g**2).sum() for name, g in grads.items() if name.endswith(ending))))


before = base(tokens)
norms = {}  # start -> [(|dA|, |dB|) at step 0, the same at step 1]
print(f"{'start':<24}{'logits':<22}{'|dA| 0':>8}{'|dB| 0':>8}{'|dA| 1':>8}{'|dB| 1':>8}{'step 0 moves logits by':>25}")
for start in STARTS:
    model = started(start, seed=0)
    logits = model(tokens)
    same = logits.tobytes() == before.tobytes()
    optimizer, norms[start] = ml.Adam(model, lr=1e-3), []
    for step in range(2):
        _, grads = ml.loss_and_grads(model, tokens, targets)
        norms[start].append((norm(grads, "A"), norm(grads, "B")))
        if step == 0:
            optimizer.step(grads)
            moved = float(np.abs(model(tokens) - logits).mean())
    shown = "the base's, bit by bit" if same else f"off by {np.abs(logits - before).mean():.2f}"
    print(f"{start:<24}{shown:<22}" + "".join(f"{v:8.4f}" for pair in norms[start] for v in pair) + f"{moved:25.4f}")
    assert same == (start != RANDOM)

(dA0, dB0), (dA1, dB1) = norms[PAPER]
assert dA0 == 0 < min(dB0, dA1, dB1), "B moves first, A follows"
(dA0, dB0), (dA1, dB1) = norms[REVERSED]
assert dB0 == 0 < min(dA0, dA1, dB1), "A moves first, B follows"
assert not np.any(norms[ZERO]), "nothing moves, at step 1 as little as at step 0"
assert np.all(norms[RANDOM])

# %% [markdown]
# Zeros are exact: a product with a matrix of zeros is zero, in floating point too.
#
# The last column is the mean change of a logit by the first step, at one learning rate. Adam moves every entry of
# what moves by about the learning rate (lesson 3), whatever the gradient's size. The first two starts are mirror
# images, yet their first steps are not equally long. Why: a step of $B$ reaches $h$ through the $r$ numbers $A x$, a
# step of $A$ through the $k$ numbers $x$, and there are many more of those. So if we compare the two at one learning
# rate, we compare a short step with a long one. Each start must be given its own.
#
# ## 4. What comes of it
# **Question.** Which start learns best?
#
# **Number.** The loss on held-out source. Three learning rates are tried for each start on seed 0; the best of them,
# by the last loss, is run on seeds 1 and 2 too. "Both zero" needs no curve: its gradients are zero at the start, so
# it stays there, and so on. We let it train for three steps to see just that.

# %%
STEPS, EVERY, SEEDS = 48, 12, (0, 1, 2)
LEARNING_RATES = (1e-3, 4e-3, 1.6e-2)


def curve(start: str, lr: float, seed: int, steps: int = STEPS) -> list[float]:
    """The held-out losses (nats per byte) every EVERY steps, the one before the first step included."""
    run = ml.fit(
        started(start, seed),
        train,
        steps=steps,
        lr=lr,
        batch_size=8,
        validation=validation,
        eval_every=EVERY,
        seed=seed,
        workers=2,
        progress=False,
    )
    return [loss for _, loss in run.val_losses]


curves = {}  # start -> (3 seeds, 1 + STEPS / EVERY)
for start in (PAPER, REVERSED, RANDOM):
    tried = {lr: curve(start, lr, SEEDS[0]) for lr in LEARNING_RATES}
    best = min(tried, key=lambda lr: tried[lr][-1])
    curves[start] = np.array([tried[best], *(curve(start, best, seed) for seed in SEEDS[1:])])
    print(f"{start:<24}" + ", ".join(f"lr {lr:g}: {losses[-1]:.3f}" for lr, losses in tried.items()))
    mean, spread = curves[start][:, -1].mean(), curves[start][:, -1].std(ddof=1)
    print(f"{'':<24}at {best:g}, three seeds: {mean:.3f} ± {spread:.3f}")

base_loss = curves[PAPER][0, 0]
assert curve(ZERO, 1e-2, 0, steps=3) == [base_loss, base_loss], "both zero: not a bit has moved"
print(f"{ZERO:<24}{base_loss:.3f}, the base's, for ever")

# %% [markdown]
# What follows from the formulas, on every seed: with one factor zero the run starts at the base's loss, to the bit;
# with both zero it stays there.
#
# What was measured, on every seed: LoRA improves on the base; both random begins above the base, for the noise $s B A$
# that it has added is as good as sure to harm a trained model, and within these steps it does not catch up with LoRA.
# How the paper's start compares with its mirror image is a measurement too: the paper states its choice (section 4.1)
# and does not discuss it. Look at the numbers: three seeds, three rates, one task. Hayou, Ghosh and Yu (2024) find on
# large models that $A$ random, $B = 0$ stands larger learning rates and ends better on average.

# %%
assert (curves[PAPER][:, 0] == base_loss).all(), "it follows"
assert (curves[REVERSED][:, 0] == base_loss).all(), "it follows"
assert (curves[PAPER][:, -1] < base_loss).all(), "measured, as is all below"
assert (curves[RANDOM][:, 0] > base_loss).all()
assert curves[RANDOM][:, -1].min() > curves[PAPER][:, -1].max()
difference = curves[REVERSED][:, -1] - curves[PAPER][:, -1]
print(f"mirror image minus LoRA, seed by seed: {', '.join(f'{x:+.3f}' for x in difference)} nats per byte")

# %% [markdown]
# ## 5. The picture

# %%
STYLES = {
    PAPER: dict(color=LORA, linestyle="-", marker="o"),
    REVERSED: dict(color=OTHER, linestyle="--", marker="s"),
    RANDOM: dict(color=OTHER, linestyle=":", marker="^", markeredgecolor="black"),
}
figure, ((first, high), (second, low)) = subplots(2, 2, figsize=(9, 4.4), width_ratios=(1, 1.15))
floor = min(v for pairs in norms.values() for pair in pairs for v in pair if v > 0) / 3  # a log axis has no zero
for step, axes in enumerate((first, second)):
    for which, shift, color in ((0, -0.2, "0.85"), (1, 0.2, "0.35")):
        for place, start in enumerate(STARTS):
            height = norms[start][step][which]
            axes.bar(place + shift, height, 0.4, color=color, edgecolor="black", linewidth=0.6)
            if height == 0:
                axes.text(place + shift, 1.2 * floor, "0", ha="center", va="bottom", fontweight="bold")
        axes.bar(0, 0, color=color, edgecolor="black", label=("$\\|dA\\|$", "$\\|dB\\|$")[which])
    axes.set(title=f"Gradients at step {step}", ylabel="Frobenius norm", yscale="log", xticks=[])
    axes.set_ylim(floor, 3 * max(v for pairs in norms.values() for pair in pairs for v in pair))
second.set_xticks(range(len(STARTS)), ["A random\nB = 0", "A = 0\nB random", "A = 0\nB = 0", "both\nrandom"])
first.legend(ncols=2, loc="upper center", fontsize=8)

steps = np.arange(0, STEPS + 1, EVERY)
for start, look in STYLES.items():  # the axis is broken: one loss is far above the others
    mean, deviation = curves[start].mean(axis=0), curves[start].std(axis=0, ddof=1)
    (high if start == RANDOM else low).errorbar(steps, mean, deviation, capsize=3, label=start, **look)
low.axhline(base_loss, color=BASE, linestyle="-.", label=ZERO)
high.set(title="Held-out loss, best of three rates", xticklabels=[], ylim=(base_loss, None))
low.set(xlabel="step", ylim=(None, base_loss + 0.05), xlim=high.get_xlim())
low.set_ylabel("loss (nats per byte)", y=1.1)
high.legend(fontsize=8)
low.legend(fontsize=8)
show_figure(figure, "05_four_starts.png")

# %% [markdown]
# ![gradients and losses of the four ways to start](figures/05_four_starts.png)
#
# Left: each zero of the table in section 3, measured; after one step only "both zero" still has any. Right: the mean
# of three seeds, bars of one standard deviation; its axis is broken at the base's loss.
#
# ## What to try next
# - Start $B$ at $10^{-3}$ times its random value, $A$ random. Is the model damaged? Does $A$ learn sooner? What would
#   you have to give up? (The logits are no longer the base's, bit by bit.)
# - After the first step with $B = 0$ under plain gradient descent with learning rate $\eta$,
#   $\Delta W = -\eta s^2 G A^\top A$. Derive it. For random $A$ the mean of $A^\top A$ is $\frac{r}{k} I$: on average
#   LoRA's first step goes down full fine-tuning's own gradient. What is the mean for the mirror image?
# - Give the mirror image a $B$ of variance $1/d$ instead of $1/r$. What does the last column of the table in section
#   3 say now, and which learning rate is best?
# - Lesson 6: what $\alpha/r$ is for. Lesson 7: how $\Delta W$ disappears into $W_0$.
