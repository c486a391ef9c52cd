# %% [markdown]
# # 16 · From GPT-2 to a modern decoder
#
# **After this lesson you can**
# - name the four changes between GPT-2 (2019) and Llama, SmolLM2 or Qwen, and say what each one saves;
# - derive the backward pass of each;
# - explain why a rotation by position makes attention see distances;
# - compute the memory of a key/value cache;
# - read `minilora/llama.py` from top to bottom.
#
# **You need** `pip install -e ".[plots]"`; lesson 2 (the transformer and its backward passes). It takes about 5 seconds
# to run. Keep `minilora/ops.py` and `minilora/llama.py` open next to it.

# %%
import numpy as np

import minilora as ml
from minilora import attention, ops
from minilora.llama import LlamaConfig, shapes
from minilora.plots import BASE, FULL, LORA, OTHER, show_figure, subplots

# %% [markdown]
# ## The plan
# The frame stays: embeddings, blocks that add to a residual stream, a last norm, a head. Inside, four parts are new:
#
# | | GPT-2 | Llama |
# |---|---|---|
# | norm | LayerNorm: mean 0, variance 1, scale, shift | **RMSNorm**: mean square 1, scale |
# | positions | a table `wpe`, added to the embeddings | **rotary**: queries and keys are turned by their position |
# | MLP | GELU, $C \to 4C \to C$ | **SwiGLU**: $\text{silu}(\text{gate}) \cdot \text{up}$ |
# | attention | every head has its own keys and values | **grouped queries**: heads share keys and values |
#
# Biases go as well. We check each part as in lesson 2: the loss is $\sum (\text{dy} \cdot \text{output})$ with random
# numbers dy, and every entry of an input is moved by $\pm h$.

# %%
rng = np.random.default_rng(0)
H_STEP = 1e-5  # near u^(1/3) in float64, see lesson 1
worst = {}  # what was checked -> largest error


def check(name: str, loss, array, gradient) -> None:
    """`gradient` equals dloss/darray in every entry, to the accuracy of a central difference (lesson 1)."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + H_STEP
        up = loss()
        array[index] = before - H_STEP
        slopes[index] = (up - loss()) / (2 * H_STEP)
        array[index] = before
    scale = max(1.0, float(np.abs(slopes).max()))
    worst[name] = float(np.abs(gradient - slopes).max()) / scale
    assert worst[name] < 1e-7, f"{name}: off by {worst[name]:.0e}"


# %% [markdown]
# ## 1. RMSNorm
# **Formula** (Zhang and Sennrich 2019). LayerNorm without the mean and without the shift:
#
# $$ y = \gamma\, \hat x, \qquad \hat x = \rho\, x, \qquad
#    \rho = \frac{1}{\sqrt{\frac{1}{C} \sum_j x_j^2 + \epsilon}} $$
#
# What matters, the authors found, is that the *length* of a row no longer matters. Shifting it by a constant was never
# the point.
#
# **Backward.** With $g = dy\, \gamma$: an entry $x_j$ affects every $\hat x_i$ in its row, in two ways (LayerNorm had
# three):
# - directly: $\rho$, if $i = j$;
# - through the root, $\partial \rho / \partial x_j = -\rho^3 x_j / C = -\rho^2 \hat x_j / C$: with $x_i$ that makes
#   $-\rho\, \hat x_i \hat x_j / C$.
#
# $$ dx_j = \rho\, \Big( g_j - \hat x_j\, \frac{1}{C} \sum_i g_i \hat x_i \Big), \qquad
#    d\gamma = \sum_{\text{rows}} dy\, \hat x $$


# %%
def rms_norm(x, gamma, eps=1e-5):
    rho = 1 / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return gamma * x * rho, x * rho, rho


T, C = 5, 6
x, gamma, dy = rng.standard_normal((T, C)), rng.standard_normal(C), rng.standard_normal((T, C))
y, xhat, rho = rms_norm(x, gamma)
g = dy * gamma
dx = rho * (g - xhat * (g * xhat).mean(axis=-1, keepdims=True))
assert np.allclose(y, ops.rms_norm(x, gamma, 1e-5)[0])
assert np.allclose(dx, ops.rms_norm_dx(dy, xhat, rho, gamma))
check("RMSNorm dx", lambda: (dy * rms_norm(x, gamma)[0]).sum(), x, dx)
check("RMSNorm dgamma", lambda: (dy * rms_norm(x, gamma)[0]).sum(), gamma, (dy * xhat).sum(axis=0))
stretched = rms_norm(10 * x, gamma)[0]
print(f"stretching x by 10 changes the output by {np.abs(stretched - y).max():.0e} (because of epsilon)")

# %% [markdown]
# ## 2. Rotary positions
# GPT-2 *adds* a vector for each position, so a model has as many positions as its table has rows. Su et al. (2021)
# *turn* queries and keys instead. Pair the $D$ numbers of a head, and read each pair $(a, b)$ as the complex number
# $a + ib$. At position $m$, pair number $j$ is turned by the angle $m f_j$:
#
# $$ q_j \;\to\; q_j\, e^{i m f_j}, \qquad k_j \;\to\; k_j\, e^{i n f_j}, \qquad f_j = \theta^{-2j/D} $$
#
# **Why it works.** The dot product of two pairs is the real part of $q\, \bar k$. After turning, the positions only
# occur as their difference:
#
# $$ \big(q\, e^{imf}\big)\, \overline{\big(k\, e^{inf}\big)} = q\, \bar k\, e^{i (m - n) f} $$
#
# A score sees *how far back* a key is, wherever the two stand. Pair 0 turns by one radian per token and tells
# neighbours apart; the last pair of SmolLM2 ($\theta = 10^5$, $D = 64$) needs 440,000 tokens for one turn.
#
# **Backward.** A rotation is a linear map whose transpose is the rotation back. So $dx$ is $dy$, turned by $-m f$.
#
# In Llama's files, number $j$ is paired with number $j + D/2$.


# %%
def angles(T: int, D: int, theta: float):
    """cos and sin of every position's angles, (T, D/2)."""
    angle = np.arange(T)[:, None] * theta ** (-np.arange(0, D, 2) / D)
    return np.cos(angle), np.sin(angle)


def turn(x, cos, sin):
    """(..., T, D): a + ib times cos + i sin."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


D = 4
q, dq = rng.standard_normal((T, D)), rng.standard_normal((T, D))
cos, sin = angles(T, D, theta=100.0)
assert np.allclose(turn(q, cos, sin), ops.rotary(q, cos, sin))
assert np.allclose(turn(dq, cos, -sin), ops.rotary_dx(dq, cos, sin))
check("rotary dx", lambda: (dq * turn(q, cos, sin)).sum(), q, turn(dq, cos, -sin))

far_cos, far_sin = angles(1000 + T, D, theta=100.0)
k = rng.standard_normal((T, D))
scores = turn(q, cos, sin) @ turn(k, cos, sin).T
later = turn(q, far_cos[1000:], far_sin[1000:]) @ turn(k, far_cos[1000:], far_sin[1000:]).T
print(f"the same text 1,000 tokens later: scores differ by {np.abs(scores - later).max():.0e}, which is rounding")
assert np.abs(scores - later).max() < 1e-11

# %% [markdown]
# ## 3. SwiGLU
# **Formula** (Shazeer 2020). Two projections instead of one. The first, through a *SiLU*, is a gate for the second:
#
# $$ \text{mlp}(x) = \big(\text{silu}(x W_g^T) \cdot x W_u^T\big)\, W_d^T, \qquad
#    \text{silu}(z) = z\, s(z), \qquad s(z) = \frac{1}{1 + e^{-z}} $$
#
# Three matrices would cost half as much again, so the inner width is not $4C$ but $\frac{8}{3} C$: for SmolLM2,
# $\frac{8}{3} \cdot 576 = 1536$.
#
# **Backward.** Let $h = \text{silu}(g)$ and $a = h \cdot u$. The product rule gives $du = da \cdot h$ and
# $dh = da \cdot u$. Because $s' = s (1 - s)$:
#
# $$ \text{silu}'(z) = s + z\, s (1 - s) = s + h\, (1 - s) $$


# %%
def swiglu(g, u):
    s = 1 / (1 + np.exp(-g))
    return g * s * u, g * s, s


g, u, da = (rng.standard_normal((T, C)) for _ in range(3))
a, h, s = swiglu(g, u)
du, dg = da * h, da * u * (s + h * (1 - s))
assert np.allclose(h, ops.silu(g)[0])
assert np.allclose(dg, ops.silu_dx(da * u, h, s))
check("SwiGLU du", lambda: (da * swiglu(g, u)[0]).sum(), u, du)
check("SwiGLU dg", lambda: (da * swiglu(g, u)[0]).sum(), g, dg)

# %% [markdown]
# ## 4. Grouped queries
# A model that writes keeps the keys and values of everything before, so as not to compute them again (lesson 3's
# `generate` does). Per token and block that is $2 H D$ numbers. Ainslie et al. (2023) let $G$ query heads share one
# key/value head: $K = H / G$ heads are kept instead of $H$.
#
# **Formula.** Head $h$ attends to the keys and values of head $\lfloor h / G \rfloor$. Nothing else changes.
#
# **Backward.** A key that is used $G$ times collects $G$ gradients: $dk$ is the sum over its group. Instead of copying
# keys $G$ times and adding up afterwards, we lay the $G T$ queries of a group below each other. They meet their keys in
# one product, and the sum over the group is the sum inside the product for $dk$.

# %%
B, H, K, T, D = 2, 6, 2, 5, 4
q, dy = rng.standard_normal((B, H, T, D)), rng.standard_normal((B, H, T, D))
k, v = rng.standard_normal((B, K, T, D)), rng.standard_normal((B, K, T, D))
y, P = attention.causal_attention(q, k, v)
copied, _ = ops.causal_attention(q, k.repeat(H // K, axis=1), v.repeat(H // K, axis=1))
print(f"shared keys against copied ones: {np.abs(y - copied).max():.0e}")
assert np.allclose(y, copied)

dS = attention.causal_attention_dscores(dy, v, y, P)
gradients = {
    "q": (q, attention.causal_attention_dq(dS, q, k)),
    "k": (k, attention.causal_attention_dk(dS, q, k)),
    "v": (v, attention.causal_attention_dv(dy, v, P)),
}
for name, (array, gradient) in gradients.items():
    assert gradient.shape == array.shape
    check(f"grouped d{name}", lambda: (dy * attention.causal_attention(q, k, v)[0]).sum(), array, gradient)

# %% [markdown]
# What it saves, in bytes of bfloat16 for a full context:

# %%
MODELS = {  # blocks, H, K, D, context, and whether the head counts: from their config.json files
    "SmolLM2-135M": (30, 9, 3, 64, 8192),
    "Llama 3.1 8B": (32, 32, 8, 128, 131072),
    "Llama 3.1 70B": (80, 64, 8, 128, 131072),
}
for name, (blocks, H, K, D, context) in MODELS.items():
    own, shared = (2 * 2 * blocks * heads * D * context / 2**30 for heads in (H, K))
    print(f"{name:<14} {context:>7} tokens: {own:6.1f} GiB with keys of every head, {shared:5.1f} GiB with {K} shared")

# %% [markdown]
# ## The whole model
# A tiny Llama, every parameter checked at once. `shapes` lists them: there is no `wpe`, no bias, and a third matrix in
# the MLP.

# %%
config = LlamaConfig(
    vocab_size=7,
    hidden_size=6,
    intermediate_size=8,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=8,
    rope_theta=100.0,
    dtype="float64",
)
model = ml.Llama(config)
for name, parameter in model.named_parameters().items():  # as if trained: nothing is flat, the embeddings dominate
    mean, std = (1.0 if parameter.data.ndim == 1 else 0.0), (2.0 if name == "wte.weight" else 0.3)
    parameter.data[...] = mean + std * rng.standard_normal(parameter.shape)
for name, shape in shapes(config).items():
    if "blocks.1" not in name:
        print(f"{name:<30}{shape}")

tokens, targets = rng.integers(7, size=(2, 5)), rng.integers(7, size=(2, 5))
loss, grads = ml.loss_and_grads(model, tokens, targets)
for name, parameter in model.named_parameters().items():
    check(name, lambda: ml.loss_and_grads(model, tokens, targets)[0], parameter.data, grads[name])
print(f"{len(grads)} parameters, largest error {max(worst[name] for name in grads):.0e}")

# %% [markdown]
# And LoRA? It wraps linear layers, whoever owns them. Not a line of `lora.py` knows which model this is.

# %%
ml.add_lora(model, ml.LoraConfig(r=2, target_modules=("q_proj", "v_proj", "gate_proj")))
for name, parameter in model.named_parameters().items():
    if name.endswith("lora_B"):
        parameter.data[...] = 0.1 * rng.standard_normal(parameter.shape)
loss, grads = ml.loss_and_grads(model, tokens, targets)
for name in grads:
    array = model.named_parameters()[name].data
    check(name, lambda: ml.loss_and_grads(model, tokens, targets)[0], array, grads[name])
print(ml.trainable_report(model))

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 4.2))
distance = np.arange(0, 64)
for j, colour, style in ((0, LORA, "-"), (8, FULL, "--"), (16, OTHER, "-."), (31, BASE, ":")):
    left.plot(distance, np.cos(distance * 1e5 ** (-2 * j / 64)), style, color=colour, label=f"pair {j}")
left.set(title="What a pair of SmolLM2 sees of a distance", xlabel="distance m - n, tokens", ylabel="cos((m - n) f)")
left.legend(fontsize=9)
errors = list(worst.values())
right.plot(range(len(errors)), errors, "o", color=LORA)
right.axhline(1e-7, color="black", linestyle="--", linewidth=1, label="tolerance")
right.set(title="Backward against finite differences", xlabel="array checked", ylabel="largest error", yscale="log")
right.set_ylim(1e-14, 1e-5)
right.legend(fontsize=9)
show_figure(figure, "16_modern_decoder.png")

# %% [markdown]
# ## What to try next
# - Set `qk_norm=True`, as in Qwen3. Between which two steps do `q_norm` and `k_norm` go, and which gradients pass
#   through them?
# - Give every pair the same frequency. Which distances can attention no longer tell apart?
# - Set `num_key_value_heads=1`. How many parameters go, and where?
# - Exercises 28 (RMSNorm), 29 (rotary positions), 30 (grouped queries) and 31 (SwiGLU).
# - Lesson 18 takes a real model of this family and keeps its weights in 4 bits.
