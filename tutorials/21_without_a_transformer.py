# %% [markdown]
# # 21 · LoRA without a transformer: a diffusion model learns a new shape
#
# **After this lesson you can**
# - put a LoRA on any dense layer, with the same call as on a transformer;
# - write a small diffusion model, its loss and its sampler, in sixty lines;
# - compare two samples by one number, next to a control;
# - turn an adapter up and down, as users of image generators do, and say what the scale changes.
#
# **You need** `pip install -e ".[plots]"`; lesson 5 (LoRA), and lesson 7 (merging) for the last section. It takes about
# 15 seconds on two idle cores.

# %%
import copy
from itertools import pairwise

import numpy as np

import minilora as ml
from minilora import ops
from minilora.nn import Linear, Module, Parameter
from minilora.plots import BASE, LORA, OTHER, show_figure, subplots

# %% [markdown]
# ## Why
# The paper names language models and then says that its method works for "any dense layers in deep learning models"
# (section 4). Most LoRAs that people exchange today are for image generators: a large diffusion model that draws
# anything, and a few megabytes that make it draw one thing. Our images are points in the plane, so you can see a whole
# distribution in one picture, and a model of 35,000 weights is enough.
#
# ## 1. A diffusion model
# **Question.** How can a network that only answers questions about noise draw samples of a shape?
#
# **Formula** (Ho et al. 2020, eq. 4 and 14). Take a point $x_0$ of the shape and mix it with Gaussian noise
# $\varepsilon$: little at time $t = 1$, almost only noise at $t = T$:
#
# $$ x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon, \qquad
#    L = \mathbb{E}\, \lVert \varepsilon - \varepsilon_\theta(x_t, t) \rVert^2 $$
#
# The network $\varepsilon_\theta$ sees $x_t$ and $t$, and guesses the noise. To draw, start from noise alone, and take
# out what the network takes for noise, step by step.
#
# The network is four dense layers, with SiLU between them, and time enters as sines and cosines. Forward and backward,
# by hand:


# %%
class Denoiser(Module):
    """x (n, 2) and its time t (n,) -> a guess of the noise in x, (n, 2)."""

    def __init__(self, width, rng, dtype="float32"):
        sizes = (2 + FREQUENCIES.size * 2, width, width, width, 2)
        self.layers = [
            Linear(Parameter((rng.standard_normal((d, k)) / k**0.5).astype(dtype)), Parameter(np.zeros(d, dtype)))
            for k, d in pairwise(sizes)
        ]
        self.assign_names()

    def forward(self, x, t):
        angles = t[:, None] * FREQUENCIES
        h = np.concatenate([x, np.sin(angles), np.cos(angles)], axis=1).astype(x.dtype)
        caches = []
        for layer in self.layers[:-1]:
            z, cache = layer.forward(h)
            h, slope = ops.silu(z)
            caches.append((cache, h, slope))
        y, cache = self.layers[-1].forward(h)
        return y, (caches, cache)

    def backward(self, dy, cache, grads):
        caches, last = cache
        dh = self.layers[-1].backward(dy, last, grads)
        for layer, (cache, h, slope) in zip(self.layers[-2::-1], caches[::-1], strict=True):
            dh = layer.backward(ops.silu_dx(dh, h, slope), cache, grads)


T = 50
FREQUENCIES = np.pi / T * 2.0 ** np.arange(5)
ALPHA_BAR = np.cos(np.pi / 2 * np.arange(T + 1) / (T + 1)) ** 2  # 1 at t = 0, nearly 0 at t = T


# %%
def loss_and_grads(model, x0, rng):
    """The loss above on a batch x0 (n, 2), each point at a time of its own, and its gradients by name."""
    t = rng.integers(1, T + 1, len(x0))
    noise = rng.standard_normal(x0.shape).astype(x0.dtype)
    a = ALPHA_BAR[t, None].astype(x0.dtype)
    guess, cache = model.forward(np.sqrt(a) * x0 + np.sqrt(1 - a) * noise, t)
    error, grads = guess - noise, {}
    model.backward(2 * error / len(x0), cache, grads)
    return float((error**2).sum() / len(x0)), grads


def sample(model, n, seed):
    """n points (n, 2): from noise to the shape in T steps (Song et al. 2021, eq. 12, without fresh noise)."""
    x = np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
    for t in range(T, 0, -1):
        noise, _ = model.forward(x, np.full(n, t))
        x0 = (x - np.sqrt(1 - ALPHA_BAR[t]) * noise) / np.sqrt(ALPHA_BAR[t])
        x = (np.sqrt(ALPHA_BAR[t - 1]) * x0 + np.sqrt(1 - ALPHA_BAR[t - 1]) * noise).astype(np.float32)
    return x


# %% [markdown]
# Is the backward right? Differences tell, in float64 (lesson 1):

# %%
double = Denoiser(8, np.random.default_rng(0), "float64")
points = np.random.default_rng(1).standard_normal((5, 2))
_, grads = loss_and_grads(double, points, np.random.default_rng(2))
worst, eps = 0.0, 1e-6
for name, parameter in double.named_parameters().items():
    for place in np.ndindex(parameter.shape):
        kept, losses = parameter.data[place], []
        for moved in (kept + eps, kept - eps):
            parameter.data[place] = moved
            losses.append(loss_and_grads(double, points, np.random.default_rng(2))[0])
        parameter.data[place] = kept
        worst = max(worst, abs((losses[0] - losses[1]) / (2 * eps) - grads[name][place]))
print(f"largest difference to finite differences: {worst:.0e}")
assert worst < 1e-7

# %% [markdown]
# ## 2. The base
# It learns a ring. The training loop is the one of every lesson: gradients, then a step of Adam.


# %%
def ring(n, rng):
    angle = rng.uniform(0, 2 * np.pi, n)
    return (np.c_[np.cos(angle), np.sin(angle)] + 0.05 * rng.standard_normal((n, 2))).astype(np.float32)


def train(model, shape, steps, lr, seed=0):
    """Adam on batches of 256 fresh points of the shape."""
    rng, optimizer = np.random.default_rng(seed), ml.Adam(model, lr)
    for step in range(steps):
        optimizer.lr = ml.warmup_cosine(step, steps, lr, warmup=20)
        _, grads = loss_and_grads(model, shape(256, rng), rng)
        optimizer.step(grads)
    return model


base = train(Denoiser(128, np.random.default_rng(0)), ring, steps=2000, lr=3e-3)
print(f"{sum(p.size for p in base.parameters):,} weights")
radius = np.linalg.norm(sample(base, 1000, seed=1), axis=1)
print(f"the ring has radius 1.00 ± 0.05; what the base draws has {radius.mean():.2f} ± {radius.std():.2f}")

# %% [markdown]
# ## 3. The same call
# `add_lora` asks a model only for its layers' names and weights. Nothing in it knows what a transformer is.
#
# We adapt the base to two new shapes: the ring squashed to a slanted ellipse, and two arcs that the ring does not have.
# To compare drawings with the truth we need a number. The *energy distance* of two samples $X$ and $Y$ is
# $2\,\mathbb{E}|X - Y| - \mathbb{E}|X - X'| - \mathbb{E}|Y - Y'|$: 0 if both come from the same distribution, and
# larger the more they differ (Székely and Rizzo 2013). Its *control* is the distance between two samples of the truth.


# %%
def ellipse(n, rng):
    return ring(n, rng) @ np.array([[1.1, 0.7], [0.1, 0.5]], np.float32)


def arcs(n, rng):
    angle, side = rng.uniform(0, np.pi, n), rng.integers(0, 2, n)
    points = np.c_[np.cos(angle) + side - 0.5, np.where(side, -np.sin(angle) + 0.5, np.sin(angle)) - 0.25]
    return (points + 0.05 * rng.standard_normal((n, 2))).astype(np.float32)


def distance(X, Y):
    """The energy distance of two samples (n, 2) and (m, 2)."""
    mean = lambda a, b: np.sqrt(((a[:, None] - b) ** 2).sum(-1)).mean()  # noqa: E731
    return 2 * mean(X, Y) - mean(X, X) - mean(Y, Y)


def adapted(shape, r, steps=600, lr=1e-2):
    """The base with a LoRA of rank r on its three wide layers, trained on the shape."""
    config = ml.LoraConfig(r=r, lora_alpha=r, target_modules=("layers.0", "layers.1", "layers.2"))
    return train(ml.add_lora(copy.deepcopy(base), config), shape, steps, lr)


SHAPES = {"ellipse": ellipse, "arcs": arcs}
RANKS = (1, 2, 4, 8)
truth = {name: [shape(1000, np.random.default_rng(seed)) for seed in (10, 11)] for name, shape in SHAPES.items()}
models = {(name, r): adapted(shape, r) for name, shape in SHAPES.items() for r in RANKS}
full = {name: train(copy.deepcopy(base), shape, 600, 2e-3) for name, shape in SHAPES.items()}
distances = {}
for name in SHAPES:
    row = {"base": base, **{f"r = {r}": models[name, r] for r in RANKS}, "full": full[name]}
    distances[name] = {who: distance(sample(model, 1000, seed=2), truth[name][0]) for who, model in row.items()}
    distances[name]["control"] = distance(*truth[name])
    print(f"{name:<8}" + "   ".join(f"{who} {value:.4f}" for who, value in distances[name].items()))
    start, at_4 = distances[name]["base"], distances[name]["r = 4"]
    assert at_4 < 0.15 * start, "rank 4 covers most of the way"
count = sum(p.size for p in models["arcs", 4].parameters if p.trainable)
print(f"r = 4 trains {count:,} of {sum(p.size for p in base.parameters):,} weights")

# %% [markdown]
# With a few percent of the weights, LoRA covers nearly all of the way from the base to the new shape. These are single
# runs: do not read anything into two neighbours in a row.
#
# ## 4. The strength of an adapter
# **Question.** Image generators have a slider for each LoRA. What does it move?
#
# **Answer.** The scale: $W_0 + c\, s B A$ for $c$ between 0 and a little more than 1. Every layer walks along a
# straight line from the base's weights to the adapted ones. What is drawn does not: the network is not linear in its
# weights.


# %%
def at_strength(model, c):
    """A copy whose updates are multiplied by c."""
    model = copy.deepcopy(model)
    for _, layer in ml.lora_layers(model):
        layer.scaling *= c
    return model


STRENGTHS = (0, 0.5, 1, 1.5)
strips = {c: sample(at_strength(models["arcs", 4], c), 1000, seed=3) for c in STRENGTHS}
for c, points in strips.items():
    ring_truth = ring(1000, np.random.default_rng(12))
    print(f"strength {c:<4} to the ring {distance(points, ring_truth):.3f}, to the arcs ", end="")
    print(f"{distance(points, truth['arcs'][0]):.3f}")
assert strips[0].tobytes() == sample(base, 1000, seed=3).tobytes(), "strength 0 is the base, bit by bit"

# %% [markdown]
# ## 5. Merge, and undo
# Merging is the same too: one product per layer, no extra cost when drawing, and `unmerge` brings back the very bits.

# %%
model = models["arcs", 4]
before, W0 = sample(model, 1000, seed=4), base.layers[1].weight.data
ml.merge(model)
merged = sample(model, 1000, seed=4)
ml.unmerge(model)
print(f"drawn with merged weights, the points move by at most {np.abs(merged - before).max():.0e}")
assert np.abs(merged - before).max() < 1e-3
assert model.layers[1].weight.data.tobytes() == W0.tobytes()

# %% [markdown]
# ## 6. The picture

# %%
figure, axes = subplots(2, 4, figsize=(10, 4.6), sharex=True, sharey=True)
draw = {"base: a ring": (sample(base, 1000, seed=3), BASE)}
draw["ellipse, LoRA r = 4"] = (sample(models["ellipse", 4], 1000, seed=3), LORA)
draw["arcs, LoRA r = 4"] = (strips[1], LORA)
draw["arcs, full fine-tuning"] = (sample(full["arcs"], 1000, seed=3), OTHER)
draw |= {f"arcs at strength {c}": (strips[c], LORA) for c in STRENGTHS}
for place, (title, (points, color)) in zip(axes.flat, draw.items(), strict=True):
    place.scatter(*points.T, s=3, color=color, alpha=0.5, linewidths=0)
    place.set(title=title, aspect="equal", xlim=(-2, 2), ylim=(-1.6, 1.6))
    place.title.set_fontsize(10)
show_figure(figure, "21_without_a_transformer.png")

# %% [markdown]
# ## What to try next
# - Adapt only `layers.0`, then only `layers.2`. Which of the two new shapes can each learn, and why? (What does the
#   first layer see?)
# - Train one LoRA on the ellipse and one on the arcs, and draw with the sum of their updates. Is it a mixture?
# - Give the base a shape in three dimensions. What in the code must change, and what in LoRA?
# - Exercises 11 (the layer) and 13 (its gradients): nothing in them knows of transformers.
