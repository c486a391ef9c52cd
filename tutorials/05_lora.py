# %% [markdown]
# # 5 · LoRA: W₀ + (α/r) B A
#
# **After this lesson you can**
# - write a LoRA layer, forward and backward, in ten lines, and have it checked;
# - put it into a GPT and train it with your own code, and get the library's numbers to the last bit;
# - get both of its gradients from a single matrix, the gradient that full fine-tuning would follow;
# - say what each of the four ways to initialize $A$ and $B$ does in the first two steps, and why the paper chose its
#   own;
# - separate what follows from the two gradients from what only a measurement can tell you.
#
# **You need** `pip install -e ".[test]"`; lesson 1 (a layer's gradients) and lesson 3 (Adam). Lesson 4 shows why one
# would look for a low-rank update. It takes about 40 seconds on two idle
# cores.

# %%
import copy

import numpy as np

import minilora as ml
from minilora import nn, ops, pictures
from minilora.plots import BASE, LORA, OTHER, plot_spread, show_figure, subplots
from minilora.testing import check_lora

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
show_figure(pictures.lora(), "05_lora.png")

# %% [markdown]
# This is LoRA at one weight of our model, drawn to scale. For GPT-3, where $W_0$ is 12,288 wide, $A$ and $B$ would be
# thinner than any line.
#
# ## 1. The layer
# **Question.** A layer has a weight $W_0$ with $d$ rows and $k$ columns: it turns an input $x$ of $k$ numbers into $d$
# numbers. Fine-tuning can change all $dk$ of its entries. How can we train fewer numbers and still change the whole
# matrix?
#
# **Formula** (Hu et al. 2021, eq. 3, with the scale from the paragraph below it). Leave $W_0$ alone and add a product
# of two thin matrices:
#
# $$ h = W_0 x + \frac{\alpha}{r} B A x, \qquad B \in \mathbb{R}^{d \times r}, \quad A \in \mathbb{R}^{r \times k} $$
#
# The *rank* $r$ is a small number that we choose. $\Delta W = \frac{\alpha}{r} B A$ has $dk$ entries, but all its
# columns are mixtures of the $r$ columns of $B$. $\alpha$ is another number, which we choose once; write
# $s = \alpha / r$ (lesson 6 is about $s$). Only $A$ and $B$ train: $r(d + k)$ numbers instead of $dk$.
#
# In code, an input is a *row*, and a batch of $n$ inputs is a matrix $x$ ($n \times k$), so
# $h = x W_0^\top + s\,(x A^\top) B^\top$. The parentheses matter: they cost two thin products per row, and the
# $d \times k$ matrix $BA$ is never formed.


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
# **Question.** How must $A$ and $B$ move to lower the loss $L$?
#
# **Formula.** Write $dh$ ($n \times d$) for $\partial L / \partial h$, which arrives from the layers above. If
# $W = W_0 + \Delta W$ were trained as a whole, its gradient would be that of any linear layer (lesson 1):
#
# $$ G = \frac{\partial L}{\partial W} = dh^\top x \qquad (d \times k) $$
#
# Now $W_{ij} = W_{0,ij} + s \sum_p B_{ip} A_{pj}$. Changing $B_{ip}$ changes row $i$ of $W$, each entry $W_{ij}$ by
# $s A_{pj}$; changing $A_{pj}$ changes column $j$, each $W_{ij}$ by $s B_{ip}$. The chain rule sums over the entries
# that change:
#
# $$ \frac{\partial L}{\partial B_{ip}} = s \sum_j G_{ij} A_{pj} \;\Rightarrow\; dB = s\, G A^\top \qquad\qquad
#    \frac{\partial L}{\partial A_{pj}} = s \sum_i B_{ip} G_{ij} \;\Rightarrow\; dA = s\, B^\top G $$
#
# Remember these two formulas. Each factor sees $G$ only through the other factor, and the rest of this lesson follows
# from that. Substitute $G = dh^\top x$, and here too no $d \times k$ matrix is needed.


# %%
def backward(dh, x, W0, A, B, s):
    """(dx, dA, dB) of the loss whose gradient at h is dh.  W0 is frozen: it gets no gradient."""
    dB = s * dh.T @ (x @ A.T)
    dA = s * (dh @ B).T @ x
    dx = dh @ W0 + s * (dh @ B) @ A
    return dx, dA, dB


check_lora(forward=forward, backward=backward, max_examples=50)
print("forward matches the formula; with B = 0 it is the base layer; dx, dA and dB match finite differences")

# %% [markdown]
# `check_lora` generated 50 layers with various shapes, ranks and scales, and compared every entry with
# $(L(P + \varepsilon) - L(P - \varepsilon)) / 2\varepsilon$, within a bound on the rounding error. Break a line of
# `backward` and run the cell again: it tells you what is wrong.
#
# The same two formulas hold in a real transformer: for each attention matrix, the gradient $G$ of full fine-tuning
# gives both of LoRA's gradients. We check this in double precision (16 digits), so that rounding cannot hide a
# difference:

# %%
base, tokenizer = ml.load_base()
train, validation = ml.source_windows()
tokens, targets, _ = next(validation.batches(8))

double = ml.GPT(ml.GPTConfig(**{**vars(base.config), "dtype": "float64"}))
double.load_state_dict(base.state_dict())
_, full = ml.loss_and_grads(double, tokens, targets)  # full[name + ".weight"] is G

ml.add_lora(double, ml.LoraConfig(r=4, lora_alpha=8, target_modules=ATTENTION))
for _, layer in ml.lora_layers(double):
    # B must not be zero, or dA would be; but it must be so tiny that G stays the same to the digits we compare.
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
# ## 3. Build it into a GPT
# **Question.** How do $A$ and $B$ get into a whole model?
#
# **Code.** Here is lesson 2's `gpt()` again, with two more lines. `w` is a dictionary of the base's weights, `lora` one
# of the adapted matrices: name -> $(A, B)$.


# %%
def gpt(tokens, w, lora, s, n_layer, n_head):
    """tokens (T,) -> logits (T, V)."""

    def linear(x, name):
        y = x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        if name in lora:
            A, B = lora[name]
            y = y + s * (x @ A.T) @ B.T
        return y

    def norm(x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        rho = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return w[f"{name}.weight"] * centred * rho + w[f"{name}.bias"]

    def attention(q, k, v):
        S = np.where(np.tril(np.ones((len(q), len(q)), dtype=bool)), q @ k.T / np.sqrt(q.shape[-1]), -np.inf)
        E = np.exp(S - S.max(axis=-1, keepdims=True))
        return E / E.sum(axis=-1, keepdims=True) @ v

    x = w["wte.weight"][tokens] + w["wpe.weight"][: len(tokens)]
    for i in range(n_layer):
        n = norm(x, f"blocks.{i}.ln_1")
        q, k, v = (np.split(linear(n, f"blocks.{i}.attn.{name}_proj"), n_head, axis=-1) for name in "qkv")
        heads = [attention(*each) for each in zip(q, k, v, strict=True)]
        x = x + linear(np.concatenate(heads, axis=-1), f"blocks.{i}.attn.o_proj")
        h = linear(norm(x, f"blocks.{i}.ln_2"), f"blocks.{i}.mlp.up_proj")
        h = h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))) / 2
        x = x + linear(h, f"blocks.{i}.mlp.down_proj")
    return norm(x, "ln_f") @ w["wte.weight"].T


# %% [markdown]
# To train it, we need the backward passes of lesson 2 as well, and we do not want to write those again. So we put our
# layer into minilora's model, whose layers are objects with `forward` and `backward`. Ours holds a `Linear` and adds
# the formulas of sections 1 and 2 to it. (It multiplies by $s$ in the middle, where the array is smallest.)


# %%
class MyLora(nn.Module):
    """A frozen Linear with A and B beside it."""

    def __init__(self, base, A, B, s):
        self.base, self.A, self.B, self.s = base, nn.Parameter(A), nn.Parameter(B), s

    def forward(self, x, rng=None):
        y, _ = self.base.forward(x)
        h = self.s * ops.linear(x, self.A.data)
        return y + ops.linear(h, self.B.data), (x, h)

    def backward(self, dy, cache, grads, need_dx=True):
        x, h = cache
        dh = self.s * ops.linear_dx(dy, self.B.data)
        nn.accumulate(grads, self.B, ops.linear_dW(dy, h))  # a large batch comes in pieces, whose gradients add up
        nn.accumulate(grads, self.A, ops.linear_dW(dh, x))
        return ops.linear_dx(dy, self.base.weight.data) + ops.linear_dx(dh, self.A.data)


def inject(model, targets, r, alpha, seed):
    """Freeze the model and put a MyLora in the place of every matrix with one of these names."""
    rng = np.random.default_rng(seed)
    model.freeze()
    for path, layer in list(model.named_modules()):
        parent, _, name = path.rpartition(".")
        if name in targets:
            d, k = layer.weight.shape
            A = (rng.standard_normal((r, k)) * (1 / np.sqrt(k))).astype("float32")
            B = np.zeros((d, r), "float32")
            setattr(model.get_submodule(parent), name, MyLora(layer, A, B, alpha / r))
    model.assign_names()
    return model


def train_it(model, steps=8):
    optimizer, rng, losses = ml.Adam(model, lr=1e-3), np.random.default_rng(0), []
    for _ in range(steps):
        batch = train.sample(rng, 8)
        loss, grads = ml.loss_and_grads(model, batch.tokens, batch.targets)
        optimizer.step(grads)
        losses.append(loss)
    return losses


mine = inject(copy.deepcopy(base), ATTENTION, r=4, alpha=8, seed=0)
theirs = ml.add_lora(copy.deepcopy(base), ml.LoraConfig(r=4, lora_alpha=8, target_modules=ATTENTION), seed=0)
my_losses, their_losses = train_it(mine), train_it(theirs)
print(f"the last of 8 losses: {my_losses[-1]!r} with our code, {their_losses[-1]!r} with ml.add_lora")
my_layers = [layer for _, layer in mine.named_modules() if isinstance(layer, MyLora)]
assert my_losses == their_losses
for ours, (_, layer) in zip(my_layers, ml.lora_layers(theirs), strict=True):
    assert np.array_equal(ours.A.data, layer.lora_A.data), "every bit of every A"
    assert np.array_equal(ours.B.data, layer.lora_B.data), "and of every B"

lora = {path: (layer.lora_A.data, layer.lora_B.data) for path, layer in ml.lora_layers(theirs)}
logits = gpt(tokens[0], base.state_dict(), lora, 2.0, base.config.n_layer, base.config.n_head)
off = np.abs(logits - theirs(tokens[:1])[0]).max() / np.abs(logits).max()
print(f"and gpt() with these A and B gives the same logits, to {off:.0e}")
assert off < 1e-4

# %% [markdown]
# From here on we use `ml.add_lora`, which does what `inject` does. Nothing in it is hidden from you now.
#
# ## 4. Four ways to start
# **Question.** What should $A$ and $B$ be before the first step?
#
# **Formula.** Read the answer off $\Delta W = s B A$, $dB = s G A^\top$ and $dA = s B^\top G$:
#
# | start | $\Delta W$ | $dB$ | $dA$ | so |
# |---|---|---|---|---|
# | $A$ random, $B = 0$ (section 4.1) | 0 | $s G A^\top$ | **0** | starts as the base; $B$ moves first, $A$ follows |
# | $A = 0$, $B$ random | 0 | **0** | $s B^\top G$ | starts as the base; $A$ moves first, $B$ follows |
# | $A = 0$, $B = 0$ | 0 | **0** | **0** | never moves |
# | both random | noise | $s G A^\top$ | $s B^\top G$ | moves, but damages the model first |
#
# The third start is a saddle point, not a minimum: for small $A$ and $B$ the loss changes by
# $s \sum_{ij} G_{ij} (BA)_{ij}$, which can be positive or negative (replace $B$ by $-B$). The gradient does not show
# this.
#
# The random numbers are Gaussian. How large should they be? $x A^\top$ is a sum of $k$ products, so entries of variance
# $1/k$ give it the scale of $x$. $B$ sums $r$ terms, so $1/r$ does the same for $B$. (Hayou, Ghosh and Yu 2024 call the
# first two starts Init[A] and Init[B].)
#
# **Code.** We try all four on all the attention matrices ($W_q, W_k, W_v, W_o$ of every block, lesson 2) of the base,
# which was trained on Python's documentation; the task is Python's source. We print the logits (the model's scores)
# before the first step, the gradients at step 0, and, after one step of Adam, the gradients at step 1. For a matrix, we
# print its Frobenius norm, the square root of the sum of its squared entries.

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
    """The base with a LoRA, initialized in one of the four ways."""
    config = ml.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=ATTENTION)
    model = ml.add_lora(copy.deepcopy(base), config, seed)  # A random, B = 0
    random_A, random_B = STARTS[start]
    rng = np.random.default_rng(seed)
    for _, layer in ml.lora_layers(model):
        layer.lora_A.data *= random_A
        if random_B:
            layer.lora_B.data[...] = rng.standard_normal(layer.lora_B.shape) * RANK**-0.5
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
assert not np.any(norms[ZERO]), "nothing moves, neither at step 0 nor at step 1"
assert np.all(norms[RANDOM])

# %% [markdown]
# The zeros are exact: a product with a zero matrix is zero, even in floating point.
#
# The last column is the mean change of a logit in the first step, at one learning rate for all. Adam moves every entry
# by about the learning rate (lesson 3), whatever the size of its gradient, as long as it has one. The first two starts
# are mirror images, yet their first steps differ in length: a step of $B$ reaches $h$ through the $r$ numbers $A x$,
# while a step of $A$ reaches it through the $k$ numbers $x$, and there are far more of those. If we compared the two at
# one learning rate, we would be comparing a short step with a long one. Each start needs a learning rate of its own.
#
# ## 5. How well they learn
# **Question.** Which start learns best?
#
# **Number.** The loss on held-out source. For each start we try three learning rates on seed 0, pick the one with the
# lowest final loss, and run it on seeds 1 and 2 as well. "Both zero" needs no curve: its gradients are zero at the
# start, so it stays where it is, and its gradients stay zero. We train it for three steps just to see that.

# %%
STEPS, EVERY, SEEDS = 48, 12, (0, 1, 2)
LEARNING_RATES = (1e-3, 4e-3, 1.6e-2)


def curve(start: str, lr: float, seed: int, steps: int = STEPS) -> list[float]:
    """The held-out losses (nats per byte) every EVERY steps, starting before the first step."""
    watched = dict(validation=validation, eval_every=EVERY, progress=False)
    run = ml.fit(started(start, seed), train, steps=steps, lr=lr, batch_size=8, seed=seed, workers=2, **watched)
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
assert curve(ZERO, 1e-2, 0, steps=3) == [base_loss, base_loss], "both zero: not one bit has moved"
print(f"{ZERO:<24}{base_loss:.3f}, the base's, forever")

# %% [markdown]
# What follows from the formulas, on every seed: with one factor zero, the run starts at exactly the base's loss; with
# both zero, it stays there.
#
# What we measured, on every seed: LoRA improves on the base. "Both random" starts above the base, because adding the
# noise $s B A$ to a trained model is all but certain to harm it, and within these steps it does not catch up with LoRA.
# How the paper's start compares with its mirror image is also a measurement: the paper states its choice (section 4.1)
# without discussing it. Look at the numbers, but remember that they come from three seeds, three rates and one task.
# Hayou, Ghosh and Yu (2024) find that on large models $A$ random, $B = 0$ tolerates higher learning rates and ends
# better on average.

# %%
assert (curves[PAPER][:, 0] == base_loss).all(), "this follows from the formulas"
assert (curves[REVERSED][:, 0] == base_loss).all(), "and so does this"
assert (curves[PAPER][:, -1] < base_loss).all(), "this was measured, and so was everything below"
assert (curves[RANDOM][:, 0] > base_loss).all()
assert curves[RANDOM][:, -1].min() > curves[PAPER][:, -1].max()
difference = curves[REVERSED][:, -1] - curves[PAPER][:, -1]
print(f"mirror image minus LoRA, seed by seed: {', '.join(f'{x:+.3f}' for x in difference)} nats per byte")

# %% [markdown]
# ## 6. The objective, when there is an answer
# **Question.** So far, every byte of a text was a target. The paper's tasks have a prompt $x$ and an answer $y$. Which
# loss does it minimize?
#
# **Formula** (equations 1 and 2). Full fine-tuning maximizes, over all parameters $\Phi$, the log-probability of the
# answers; LoRA does so over the much smaller $\Theta$, the entries of all $A$ and $B$, with $\Phi_0$ frozen:
#
# $$ \max_\Phi \sum_{(x, y)} \sum_{t=1}^{|y|} \log P_\Phi(y_t \mid x, y_{<t}) \qquad\qquad
#    \max_\Theta \sum_{(x, y)} \sum_{t=1}^{|y|} \log P_{\Phi_0 + \Delta\Phi(\Theta)}(y_t \mid x, y_{<t}) $$
#
# The inner sum runs over $y$ only. The prompt is read, but the model is not asked to predict it: its targets have
# weight 0.

# %%
prompt, answer = "boats(price, owner)\nshow the owner?\n>", "SELECT owner FROM boats\n"
row = tokenizer.encode(prompt + answer).astype(int)
x_y, next_byte = row[None, :-1], row[None, 1:]
counts = np.arange(1, len(row)) >= len(prompt)  # True where the target belongs to the answer
for name, text in (("input", row[:-1]), ("target", row[1:])):
    print(f"{name:<8}{tokenizer.decode(text.astype(np.uint8))!r:.75}")
print(f"{'weight':<8} " + "".join("1" if c else "0" for c in counts))

weights = counts[None].astype(np.float32)
loss, _ = ml.loss_and_grads(double, x_y, next_byte, weights)
logits = double(x_y)[0]
log_P = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
by_hand = -sum(log_P[t, row[t + 1]] for t in np.flatnonzero(counts)) / len(answer)
print(f"loss of the answer: {loss:.4f} nats per byte; the inner sum of eq. 2, by hand: {by_hand:.4f}")
assert np.isclose(loss, by_hand)
assert counts.sum() == len(answer)

# %% [markdown]
# (Before training, the base knows nothing of SQL, as the loss says. The tables of the paper, `RESULTS.md` here, are
# made with this objective.)
#
# ## 7. The picture

# %%
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

steps = range(0, STEPS + 1, EVERY)
for start, axes, style, look in (  # one loss is far above the others, so it gets its own panel
    (PAPER, low, "o-", dict(color=LORA)),
    (REVERSED, low, "s--", dict(color=OTHER)),
    (RANDOM, high, "^:", dict(color=OTHER, markeredgecolor="black")),
):
    plot_spread(axes, dict(zip(steps, curves[start].T, strict=True)), style, label=start, **look)
low.axhline(base_loss, color=BASE, linestyle="-.", label=ZERO)
high.set(title="Held-out loss, best of three rates", xticklabels=[], ylim=(base_loss, None))
low.set(xlabel="step", ylim=(None, base_loss + 0.05), xlim=high.get_xlim())
low.set_ylabel("loss (nats per byte)", y=1.1)
high.legend(fontsize=8)
low.legend(fontsize=8)
show_figure(figure, "05_four_starts.png")

# %% [markdown]
# Left: every zero in the table of section 4, measured; after one step, only "both zero" still has any. Right: the mean
# of three seeds, with bars of one standard deviation; the upper panel starts where the base's loss is in the lower one.
#
# ## What to try next
# - Start $B$ at $10^{-3}$ times its random value, with $A$ random. Is the model damaged? Does $A$ learn sooner? What do
#   you have to give up? (The logits are no longer the base's, bit by bit.)
# - After the first step from $B = 0$ under plain gradient descent with learning rate $\eta$,
#   $\Delta W = -\eta s^2 G A^\top A$. Derive it. For random $A$, the mean of $A^\top A$ is $\frac{r}{k} I$: on average,
#   LoRA's first step goes down full fine-tuning's own gradient. What is the mean for the mirror image?
# - Give the mirror image a $B$ of variance $1/d$ instead of $1/r$. What happens to the last column of the table in
#   section 4, and which learning rate is best now?
# - Put `MyLora` on the MLP's two matrices as well. Which numbers in `inject` change?
# - Exercises 11 (forward), 12 (the start), 13 (backward), 14 (how many numbers train), 15 (injection) and 16 (a step
#   that leaves the base frozen).
# - Lesson 6 explains what $\alpha/r$ is for. Lesson 7 shows how $\Delta W$ disappears into $W_0$.
