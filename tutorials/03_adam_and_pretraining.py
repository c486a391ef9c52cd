# %% [markdown]
# # 3 · Adam, and pre-training on real text
#
# **After this lesson you can**
# - write Adam in six lines, and explain why its first step moves every parameter by the same amount;
# - explain what Adam can do that plain gradient descent cannot, and what it costs in memory;
# - pre-train a small GPT on real text, and say what each level of the loss means, from knowing nothing downwards;
# - describe the base model that the later lessons adapt.
#
# **You need** `pip install -e ".[plots]"`; lesson 1 (gradients, the loss in nats) and lesson 2 (the model). It takes
# about 15 seconds on two idle cores.

# %%
import math

import numpy as np

import minilora as ml
from minilora.nn import Linear, Parameter
from minilora.plots import BASE, LORA, OTHER, moving_average, show_figure, subplots
from minilora.text import split

# %% [markdown]
# ## 1. Why not simply go downhill?
# **Question.** Gradient descent, $w \leftarrow w - \eta g$ with the gradient $g$, worked in lesson 1. What is wrong
# with it?
#
# **Formula.** Take the simplest loss whose two parameters have different scales, $L = \frac12 (100\, w_1^2 + w_2^2)$.
# Its gradient is $(100\, w_1,\; w_2)$, so one step multiplies $w_1$ by $1 - 100\, \eta$ and $w_2$ by $1 - \eta$. If
# $\eta > 0.02$, the first factor is below $-1$ and $w_1$ explodes. So $w_1$ forces $\eta$ to be small, and then $w_2$
# hardly moves. That is one learning rate for two scales; a network has thousands of scales.

# %%
scales = np.array([100.0, 1.0])


def descend(eta: float, n: int = 50) -> np.ndarray:
    w = np.ones(2)
    for _ in range(n):
        w = w - eta * scales * w
    return w


for eta in (0.019, 0.021):
    print(f"gradient descent, rate {eta}: after 50 steps w = {descend(eta)}")
assert np.abs(descend(0.019)[0]) < 0.01 < 0.3 < descend(0.019)[1], "w1 has arrived, w2 has not"
assert np.abs(descend(0.021)[0]) > 50, "a slightly higher rate, and w1 explodes"

# %% [markdown]
# ## 2. Adam
# **Formula** (Kingma and Ba 2015, algorithm 1). For *every* parameter, keep a running mean of its gradient and one of
# its squared gradient, and divide the first by the square root of the second:
#
# $$ m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2 $$
# $$ \hat m = \frac{m}{1 - \beta_1^t}, \qquad \hat v = \frac{v}{1 - \beta_2^t}, \qquad
#    w \leftarrow w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon} $$
#
# $t = 1, 2, \dots$ counts the steps; $\beta_1 = 0.9$, $\beta_2 = 0.999$, $\epsilon = 10^{-8}$. Both means start at 0,
# so at first they are too small: after $t$ equal gradients, $m = (1 - \beta_1^t)\, g$. The hats divide out exactly that
# factor.
#
# Three things follow.
# - **The first step** has $\hat m = g$ and $\hat v = g^2$: it moves every parameter by $\eta \cdot g / |g| = \pm \eta$,
#   whether its gradient is small or large.
# - **Units do not matter.** Multiply all gradients of a parameter by 1000: $\hat m$ and $\sqrt{\hat v}$ both grow by
#   1000, and the step stays the same.
# - **Noise slows it down.** If the gradient keeps its sign, $|\hat m| \approx \sqrt{\hat v}$ and the step is about
#   $\eta$; if the sign keeps changing, $\hat m$ is near 0 and so is the step.
#
# The price is memory: $m$ and $v$ are two more arrays, each as large as the parameters.


# %%
def adam(w, gradient, eta: float, n: int, correct: bool = True, eps: float = 1e-8):
    """Take n steps from w; return every w on the way, (n + 1, size)."""
    m = v = np.zeros_like(w)
    path = [w]
    for t in range(1, n + 1):
        g = gradient(w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mhat, vhat = (m / (1 - 0.9**t), v / (1 - 0.999**t)) if correct else (m, v)
        w = w - eta * mhat / (np.sqrt(vhat) + eps)
        path.append(w)
    return np.array(path)


start, eta = np.ones(2), 0.1
path = adam(start, lambda w: scales * w, eta, 50)
print(f"Adam, rate {eta}: first step {path[1] - path[0]}, after 50 steps w = {path[-1]}")
assert np.allclose(path[1] - path[0], -eta, rtol=1e-6), "both move by the learning rate; one gradient is 100 x larger"
assert np.allclose(path[:, 0], path[:, 1], rtol=1e-4, atol=1e-6), "the scale of a parameter's gradient does not matter"

uncorrected = adam(start, lambda w: scales * w, eta, 1, correct=False)
print(f"without the hats, the first step is {(start - uncorrected[1])[0] / eta:.2f} times as long")
assert np.allclose(start - uncorrected[1], eta * 0.1 / math.sqrt(0.001), rtol=1e-5)

layer = Linear(Parameter(np.ones((1, 2))))
layer.assign_names()
optimizer = ml.Adam(layer, lr=eta)
for _ in range(50):
    optimizer.step({"weight": scales * layer.weight.data})
assert np.allclose(layer.weight.data[0], path[-1], rtol=0, atol=1e-12), "minilora's Adam does the same"
assert optimizer.nbytes == 2 * layer.weight.nbytes, "m and v"

# %% [markdown]
# ## 3. From noise towards words
# **Question.** What does a GPT learn from a text, and in what order?
#
# **Formula.** The loss is the mean surprise at the next byte, in nats (lesson 1). We can compute three levels in
# advance:
# - knowing nothing: all 256 bytes equally likely, $\log 256$;
# - knowing only how often each byte occurs: the *entropy* of the bytes, $-\sum_c p_c \log p_c$;
# - predicting each byte from the one before it: lesson 1's *conditional entropy*.
#
# A model whose loss is below the third must be looking back further than one byte.
#
# **Code.** We train a GPT with two blocks of width 64 on Python's documentation, holding out the last tenth. First, 60
# steps with gradient descent and with Adam. Gradient descent gets four learning rates to choose from, Adam only one.

# %%
tokenizer = ml.ByteTokenizer()
train_tokens, held_out = split(tokenizer.encode(ml.python_docs()))
T = 64  # bytes in a window of text
train, validation = ml.TextData(train_tokens, T), ml.TextData(held_out[: 64 * T + 1], T)
config = ml.GPTConfig(vocab_size=256, block_size=T, n_layer=2, n_head=4, n_embd=64)

pairs = np.zeros((256, 256))
np.add.at(pairs, (train_tokens[:-1], train_tokens[1:]), 1)
pairs /= pairs.sum()
p, seen = pairs.sum(axis=1), pairs > 0
levels = {
    "knows nothing": math.log(256),
    "knows byte frequencies": float(-(p[p > 0] * np.log(p[p > 0])).sum()),
    "knows byte pairs": float(-(pairs[seen] * np.log((pairs / np.maximum(p, 1e-30)[:, None])[seen])).sum()),
}
print(", ".join(f"{name}: {level:.2f}" for name, level in levels.items()), "nats per byte")


def gradient_descent(model: ml.GPT, lr: float, seed: int, steps: int) -> float:
    """Train with w <- w - lr g.  Returns the final held-out loss, or infinity if the run diverges."""
    rng, parameters = np.random.default_rng(seed), model.named_parameters()
    for _ in range(steps):
        batch = train.sample(rng, 8)
        loss, grads = ml.loss_and_grads(model, batch.tokens, batch.targets, workers=2)
        if not loss < 2 * math.log(256):  # far worse than knowing nothing, or not a number
            return math.inf
        for name, g in grads.items():
            parameters[name].data -= lr * g
    return ml.evaluate(model, validation)


def with_adam(model: ml.GPT, seed: int, steps: int) -> ml.FitResult:
    return ml.fit(model, train, steps=steps, lr=3e-3, batch_size=8, seed=seed, workers=2, progress=False)


STEPS, SEEDS = 60, (0, 1, 2)
tried = {lr: gradient_descent(ml.GPT(config, SEEDS[0]), lr, SEEDS[0], STEPS) for lr in (0.03, 0.1, 0.3, 1.0)}
best = min(tried, key=tried.get)
descent = np.array([tried[best], *(gradient_descent(ml.GPT(config, s), best, s, STEPS) for s in SEEDS[1:])])
adam_models = [ml.GPT(config, seed) for seed in SEEDS]
runs = [with_adam(model, seed, STEPS) for model, seed in zip(adam_models, SEEDS, strict=True)]
adam_losses = np.array([ml.evaluate(model, validation) for model in adam_models])
print("gradient descent: " + ", ".join(f"rate {lr:g}: {loss:.2f}" for lr, loss in tried.items()))
for name, losses in ((f"gradient descent, {best:g}", descent), ("Adam, 0.003", adam_losses)):
    print(f"{name:<26}after {STEPS} steps: {losses.mean():.2f} ± {losses.std(ddof=1):.2f} (three seeds)")
assert adam_losses.mean() < descent.mean()

# %% [markdown]
# Next, one of the Adam models trains on, and writes a line now and then. It learns the frequent bytes first, then the
# frequent pairs. There is no word yet: words take longer (section 4).


# %%
def line(model: ml.GPT, prompt: str = "The ", n: int = 56) -> str:
    tokens = ml.generate(model, tokenizer.encode(prompt), n, temperature=0.8, top_k=20)
    return repr(tokenizer.decode(tokens))


model = ml.GPT(config, seed=0)
print(f"{0:4} steps, {ml.evaluate(model, validation):.2f} nats: {line(model)}")
model, curve = adam_models[0], list(runs[0].losses)
print(f"{len(curve):4} steps, {ml.evaluate(model, validation):.2f} nats: {line(model)}")
for seed in (10, 11):  # new batches, and Adam's means start again from zero
    curve += with_adam(model, seed, 120).losses
    reached = ml.evaluate(model, validation)
    print(f"{len(curve):4} steps, {reached:.2f} nats: {line(model)}")
assert reached < levels["knows byte frequencies"]
assert reached < adam_losses[0], "more training, less surprise"

# %% [markdown]
# ## 4. The shipped base
# **Question.** What does an hour of training give you, instead of seconds?
#
# `ml.load_base()` is a larger model of the same kind, trained by this package's own `minilora pretrain`: AdamW (Adam
# with weight decay), a learning rate that first rises and then falls along a cosine (`warmup_cosine`), and thousands of
# steps on this documentation and more text. Its card, `minilora/weights/README.md`, describes the training in full.
# This is the model that the later lessons adapt.

# %%
base, _ = ml.load_base()
base_loss = ml.evaluate(base, validation)
c = base.config
print(f"{c.n_layer} blocks of width {c.n_embd}, {c.parameter_count:,} parameters; ours: {config.parameter_count:,}")
print(f"held-out documentation: {base_loss:.2f} nats per byte = {base_loss / math.log(2):.2f} bits per byte")
print(line(base, n=200))
assert base_loss < levels["knows byte pairs"], "it looks further back than one byte"
assert base_loss < reached

# %% [markdown]
# (A window is only 64 bytes long here; given more text, the base guesses better.)
#
# ## 5. The picture

# %%
figure, (left, right) = subplots(1, 2, figsize=(9, 3.8), width_ratios=(1, 1.4))
plain = np.array([np.ones(2) * (1 - 0.019 * scales) ** t for t in range(51)])
for i, name in enumerate(("$w_1$ (steep)", "$w_2$ (flat)")):
    left.plot(np.abs(plain[:, i]), ("--", ":")[i], color=OTHER, label=f"gradient descent, {name}")
left.plot(np.abs(path[:, 0]), "-", color=LORA, label="Adam, both $w_1$ and $w_2$")
left.set(title="Two scales, one learning rate", xlabel="step", ylabel="distance from the minimum, |w|")
left.legend(fontsize=8)
means = moving_average(curve, 10)
right.plot(np.arange(len(curve) - len(means), len(curve)), means, color=LORA, label="small GPT, Adam (mean of 10)")
error = descent.std(ddof=1)
right.errorbar([STEPS], [descent.mean()], [error], fmt="s", color=OTHER, capsize=3, label="the same, gradient descent")
for (name, level), style in zip(levels.items(), ((0, (1, 1)), "--", "-."), strict=True):
    right.axhline(level, color=BASE, linestyle=style, linewidth=1)
    right.text(len(curve), level - 0.08, name, ha="right", va="top", fontsize=8)
right.axhline(base_loss, color="black", linewidth=1)
right.text(len(curve), base_loss - 0.08, "the shipped base", ha="right", va="top", fontsize=8)
right.set(title="From noise to words", xlabel="step", ylabel="loss (nats per byte)", ylim=(0, None))
right.legend(fontsize=8, loc="lower left")
show_figure(figure, "03_adam_and_pretraining.png")

# %% [markdown]
# ## What to try next
# - Give gradient descent *momentum*: $m$ without $v$. Which of the three properties in section 2 does it have?
# - Set $\epsilon$ to 1 in `adam`. Which method is it now? When would a large $\epsilon$ matter in float16?
# - A parameter's gradient is exactly zero for 100 steps, and then it is not. How long is its first real step? (Lesson
#   5: LoRA's $A$ starts out in this position, for one step.)
# - `minilora pretrain --help` shows how to make a base of your own; `minilora train --data FILE` trains on your text.
# - Exercise 8 (Adam).
