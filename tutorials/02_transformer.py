# %% [markdown]
# # 2 · The transformer, and all its backward passes
#
# **After this lesson you can**
# - write the forward pass of a GPT in thirty lines of NumPy, and give the shape of every array in it;
# - derive the backward pass of each part: embedding, LayerNorm, GELU, attention, residual sum, tied output head;
# - put them together, and check every gradient of the whole model at once;
# - show, using nothing but gradients, that no position looks into the future.
#
# **You need** `pip install -e ".[plots]"`; lesson 1 (the linear layer, the softmax and its loss, finite differences).
# It takes about 10 seconds to run. Keep `minilora/ops.py` and `minilora/transformer.py` open next to it: each part of
# this lesson is a function there.

# %%
import math

import numpy as np

import minilora as ml
from minilora import ops
from minilora.attention import causal_attention
from minilora.plots import BASE, LORA, show_figure, subplots

# %% [markdown]
# ## The plan
# A text is a row of *tokens*, which are whole numbers; here they are bytes, so there are $V = 256$. A GPT (Radford et
# al. 2019, which is GPT-2) turns $T$ tokens into $T$ rows of $V$ *logits*, the scores that go into the softmax: row $t$
# scores what comes after token $t$. Inside, each position carries a row of $C$ numbers,
# $x \in \mathbb{R}^{T \times C}$, through $L$ identical *blocks* (from here on $L$ counts blocks; we spell out the
# loss):
#
# ```
# x = wte[tokens] + wpe[0, 1, ..., T-1]      embeddings: which token, and at which position
# repeat L times:
#     x = x + attention(layer_norm(x))       positions exchange information
#     x = x + mlp(layer_norm(x))             each position thinks for itself
# logits = layer_norm(x) wte^T               the output head, tied to the embedding
# ```
#
# For each part we give the formula, its backward pass, and a check. The check is the one from lesson 1. Its loss
# depends on everything: $\sum (\text{dy} \cdot \text{output})$ with random numbers dy, so its gradient at the output is
# dy. We then move every entry of an input by $\pm h$.

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
# ## 1. Embedding
# **Formula.** A table $W$ ($V \times C$) with one row for each token: $y_t = W_{\text{tokens}_t}$. This is lesson 1's
# linear layer on one-hot rows, without the multiplications by zero.
#
# **Backward.** $dW_a = \sum_{t:\, \text{tokens}_t = a} dy_t$: a token $a$ that occurs three times collects three rows.

# %%
T, C, V = 5, 6, 7
tokens = np.array([3, 1, 3, 0, 3])
W, dy = rng.standard_normal((V, C)), rng.standard_normal((T, C))
dW = np.zeros((V, C))
for t, token in enumerate(tokens):
    dW[token] += dy[t]
assert np.allclose(dW, ops.embedding_dW(dy[None], tokens[None], V))
check("embedding dW", lambda: (dy * W[tokens]).sum(), W, dW)
assert not dW[[2, 4, 5, 6]].any(), "a token that does not occur has no gradient"

# %% [markdown]
# ## 2. LayerNorm
# **Formula.** Give each row mean 0 and variance 1, then apply a learned scale $\gamma$ and shift $\beta$ ($C$ numbers
# each):
#
# $$ \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat x + \beta, \qquad
#    \mu = \frac{1}{C} \sum_j x_j, \quad \sigma^2 = \frac{1}{C} \sum_j (x_j - \mu)^2 $$
#
# $\epsilon = 10^{-5}$ prevents division by zero.
#
# **Backward.** $d\gamma$ and $d\beta$ are sums over rows, of $dy\, \hat x$ and of $dy$. For $x$, write
# $g = dy\, \gamma$ and $\rho = 1 / \sqrt{\sigma^2 + \epsilon}$, so that $\hat x_i = \rho\, (x_i - \mu)$. An entry $x_j$
# affects every $\hat x_i$ in its row, in three ways:
# - directly: $\rho$, if $i = j$;
# - through the mean, $\partial \mu / \partial x_j = 1/C$: $-\rho / C$;
# - through the variance, $\partial \sigma^2 / \partial x_j = 2 (x_j - \mu) / C$ and
#   $\partial \rho / \partial \sigma^2 = -\rho^3 / 2$: together
#   $(x_i - \mu) \cdot (-\rho^3 / 2) \cdot 2 (x_j - \mu) / C = -\rho\, \hat x_i \hat x_j / C$.
#
# Sum over $i$, weighting each by $g_i$:
#
# $$ dx_j = \rho\, \Big( g_j - \frac{1}{C} \sum_i g_i - \hat x_j\, \frac{1}{C} \sum_i g_i \hat x_i \Big) $$
#
# In words: shifting or stretching its input does not change LayerNorm's output, so the gradient has no component along
# either.


# %%
def layer_norm(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    rho = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return gamma * centred * rho + beta, centred * rho, rho


x, gamma, beta = rng.standard_normal((T, C)), rng.standard_normal(C), rng.standard_normal(C)
y, xhat, rho = layer_norm(x, gamma, beta)
g = dy * gamma
dx = rho * (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True))
assert np.allclose(dx, ops.layer_norm_dx(dy, xhat, rho, gamma))
gradients = {"dx": (x, dx), "dgamma": (gamma, (dy * xhat).sum(axis=0)), "dbeta": (beta, dy.sum(axis=0))}
for name, (array, gradient) in gradients.items():
    check(f"LayerNorm {name}", lambda: (dy * layer_norm(x, gamma, beta)[0]).sum(), array, gradient)
along_shift, along_stretch = np.abs(dx.sum(axis=-1)).max(), np.abs((dx * xhat).sum(axis=-1)).max()
print(f"LayerNorm: dx has {along_shift:.0e} along a shift, {along_stretch:.0e} along a stretch (because of epsilon)")
assert along_shift < 1e-12
assert along_stretch < 1e-3

# %% [markdown]
# ## 3. GELU
# **Formula.** Two linear layers in a row are just one linear layer. Something nonlinear must go between them:
#
# $$ y = x\, \varphi(x), \qquad \varphi(x) = \tfrac12 \big(1 + \tanh u\big), \qquad
#    u = \sqrt{2/\pi}\, (x + 0.044715\, x^3) $$
#
# $\varphi$ goes from 0 to 1, so $y$ goes from 0 (for very negative $x$) to $x$ (for large $x$).
#
# With it we can build the block's MLP (*multi-layer perceptron*): a linear layer up to four times the width, GELU, and
# a linear layer back down, applied to each position separately:
#
# $$ \text{mlp}(x) = \text{GELU}\big(x W_{\text{up}}^\top + b\big)\, W_{\text{down}}^\top + b', \qquad
#    W_{\text{up}} \in \mathbb{R}^{4C \times C}, \quad W_{\text{down}} \in \mathbb{R}^{C \times 4C} $$
#
# **Backward.** The linear layers are lesson 1's. GELU's backward is the product rule:
# $dx = dy\, (\varphi + x \varphi')$, with $\tanh' = 1 - \tanh^2$, which gives
# $\varphi' = 2 \varphi (1 - \varphi)\, u'$.


# %%
def gelu(x):
    phi = (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return x * phi, phi


y, phi = gelu(x)
slope_u = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
dx = dy * (phi + x * 2 * phi * (1 - phi) * slope_u)
assert np.allclose(dx, ops.gelu_dx(dy, x, *ops.gelu(x)))
check("GELU dx", lambda: (dy * gelu(x)[0]).sum(), x, dx)

# %% [markdown]
# ## 4. Attention
# **Question.** How does a position find out what came before it?
#
# **Formula** (Vaswani et al. 2017, eq. 1). Each position $i$ uses linear layers to turn its $x_i$ into three rows of
# $D$ numbers: a *query* $q_i$ (what am I looking for?), a *key* $k_i$ (what do I have?) and a *value* $v_i$ (what do I
# say?). Query $i$ scores every key $j$ up to its own, a softmax turns the scores into shares, and the values are mixed
# in those shares:
#
# $$ S_{ij} = \frac{q_i \cdot k_j}{\sqrt{D}} \;\; (j \le i),
#    \qquad P_{ij} = \frac{e^{S_{ij}}}{\sum_{m \le i} e^{S_{im}}}, \qquad y_i = \sum_{j \le i} P_{ij} v_j $$
#
# With $P_{ij} = 0$ for $j > i$, this is a matrix product: $y = P v$, where $q, k, v$ and $y$ are $T \times D$. The
# condition $j \le i$ is *causality*: guessing the next token would be too easy if the future were visible.
#
# **Backward.** We go through the three formulas in reverse.
# - $y = P v$ is a matrix product: $dv = P^\top dy$ and $dP = dy\, v^\top$.
# - Softmax: $\partial P_{ij} / \partial S_{im} = P_{ij} ([j = m] - P_{im})$, so
#   $dS_{im} = P_{im} \big( dP_{im} - \sum_j P_{ij}\, dP_{ij} \big)$.
# - $S = q k^\top / \sqrt{D}$: $dq = dS\, k / \sqrt{D}$ and $dk = dS^\top q / \sqrt{D}$.


# %%
def attention(q, k, v):
    """q, k, v (T, D) -> y (T, D), P (T, T)."""
    S = q @ k.T / math.sqrt(q.shape[-1])
    S = np.where(np.tril(np.ones(S.shape, dtype=bool)), S, -np.inf)  # e^-inf = 0
    E = np.exp(S - S.max(axis=-1, keepdims=True))
    P = E / E.sum(axis=-1, keepdims=True)
    return P @ v, P


def attention_backward(dy, q, k, v, P):
    dv, dP = P.T @ dy, dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True))
    return dS @ k / math.sqrt(q.shape[-1]), dS.T @ q / math.sqrt(q.shape[-1]), dv


q, k, v = (rng.standard_normal((T, C)) for _ in range(3))
y, P = attention(q, k, v)
for name, array, gradient in zip(("dq", "dk", "dv"), (q, k, v), attention_backward(dy, q, k, v, P), strict=True):
    check(f"attention {name}", lambda: (dy * attention(q, k, v)[0]).sum(), array, gradient)
assert np.allclose(P.sum(axis=-1), 1)
assert not np.triu(P, 1).any(), "the future gets no share"
assert np.allclose(y, causal_attention(*(z[None, None] for z in (q, k, v)))[0][0, 0])

# %% [markdown]
# `minilora.attention.causal_attention` computes the same thing faster: it never forms $P$, and it skips the masked
# part.
#
# A position may have to look for several things at once. So $H$ *heads* work side by side: the linear layers produce
# $C$ numbers each of queries, keys and values, and we cut these into $H$ pieces of $D = C / H$, one for each head. The
# heads' results are concatenated, and a fourth linear layer mixes them.
#
# ## 5. The rest: sums and a shared table
# **Residual sum.** $y = x + f(x)$: the gradient of a sum passes unchanged to both of its terms,
# $dx = dy + (\text{backward of } f)(dy)$. Through the plain $x$, the gradient reaches the bottom of the model undamped.
#
# **Tied head.** The logits are $x W^\top$, where $W$ is the embedding table. Since $W$ is used twice, its gradient is
# the sum of two: as the weight of a linear layer (lesson 1) and as a table (section 1).
#
# ## 6. The whole model
# **Code.** We put all of this together and run it on real weights: the forward pass of a GPT, as short as we can make
# it. `w` is a dictionary from parameter names to arrays; `attention` is the function above.


# %%
def gpt(tokens, w, n_layer: int, n_head: int):
    """tokens (T,) -> logits (T, V)."""

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])[0]

    def heads(x, name):  # (T, C) -> H arrays (T, D)
        return np.split(linear(x, name), n_head, axis=-1)

    x = w["wte.weight"][tokens] + w["wpe.weight"][: len(tokens)]
    for i in range(n_layer):
        block = f"blocks.{i}"
        n = norm(x, f"{block}.ln_1")
        qkv = zip(*(heads(n, f"{block}.attn.{name}_proj") for name in "qkv"), strict=True)
        x = x + linear(np.concatenate([attention(q, k, v)[0] for q, k, v in qkv], axis=-1), f"{block}.attn.o_proj")
        n = norm(x, f"{block}.ln_2")
        x = x + linear(gelu(linear(n, f"{block}.mlp.up_proj"))[0], f"{block}.mlp.down_proj")
    return norm(x, "ln_f") @ w["wte.weight"].T


base, tokenizer = ml.load_base()
text = tokenizer.encode("The import statement binds a name")[:24].astype(int)
ours = gpt(text, base.state_dict(), base.config.n_layer, base.config.n_head)
theirs = base(text[None])[0]
difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
print(f"our thirty lines and minilora's model, with the base's weights: the logits agree to {difference:.0e}")
assert difference < 1e-4, "float32 has seven digits, and errors add up over the layers"

# %% [markdown]
# **Number.** `ml.loss_and_grads` runs all the backward passes in order. We check every single entry of every parameter
# of a small GPT against a central difference of the whole loss, in float64:

# %%
config = ml.GPTConfig(vocab_size=11, block_size=6, n_layer=2, n_head=2, n_embd=8, dtype="float64")
small = ml.GPT(config, seed=0)
for parameter in small.named_parameters().values():  # starting at exact zeros and ones would hide mistakes
    parameter.data += 0.1 * rng.standard_normal(parameter.shape)
tokens, targets = rng.integers(11, size=(2, 2, 6))
loss, grads_of_all = ml.loss_and_grads(small, tokens, targets)


def whole_loss() -> float:
    return ops.cross_entropy(small(tokens).reshape(-1, 11), targets.reshape(-1))[0].mean()


assert math.isclose(loss, whole_loss(), rel_tol=1e-12)
for name, parameter in small.named_parameters().items():
    check(name, whole_loss, parameter.data, grads_of_all[name])
entries = sum(p.size for p in small.named_parameters().values())
whole = max(worst[name] for name in grads_of_all)
print(f"{len(grads_of_all)} parameters, {entries:,} entries: the largest error is {whole:.0e}")
k_bias = [float(np.abs(grad).max()) for name, grad in grads_of_all.items() if name.endswith("k_proj.bias")]
print(f"the {len(k_bias)} biases of the keys have gradients of at most {max(k_bias):.0e}: zero, up to rounding")
assert max(k_bias) < 1e-15

# %% [markdown]
# The bias of the keys is a parameter that does nothing. A constant $b$ added to all keys adds the same $q_i \cdot b$ to
# every score in row $i$, and adding a constant to a whole row does not change its softmax. So its gradient is zero.

# %% [markdown]
# ## 7. Who sees whom
# **Question.** Is the model causal? That is a claim about gradients: the loss at position $t$ must not depend on the
# input at any later position $j > t$.
#
# **Code.** The position table `wpe` is added to $x$ row by row, so the gradient of its row $j$ is the gradient of the
# loss with respect to the input at position $j$. A weight of 1 on one target and 0 on the others selects $t$.
#
# **Number.** The sizes of all 23 × 23 gradients on real text, with the shipped base. Those with $j > t$ must be exactly
# zero, not just small.

# %%
base.freeze()
base.wpe.weight.trainable = True
length = len(text) - 1
sizes = np.zeros((length, length))
for t in range(length):
    weights = np.zeros((1, length))
    weights[0, t] = 1
    _, grads = ml.loss_and_grads(base, text[None, :-1], text[None, 1:], weights)
    sizes[t] = np.linalg.norm(grads["wpe.weight"][:length], axis=1)
assert not np.triu(sizes, 1).any()
assert np.tril(sizes).any(axis=1).all()
print(
    f"nonzero gradients: {np.count_nonzero(np.triu(sizes, 1))} from the future, {np.count_nonzero(sizes)} from the past"
)
shares = sizes / sizes.sum(axis=1, keepdims=True)
recent = np.mean([shares[t, t - 3 : t + 1].sum() for t in range(8, length)])
even = np.mean([4 / (t + 1) for t in range(8, length)])
print(f"the last four bytes get {recent:.0%} of a row; if all bytes got the same, they would get {even:.0%}")

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 4.6))
labels = [chr(token).replace(" ", "␣") for token in text]
image = left.imshow(np.where(shares > 0, shares, np.nan), cmap="Greys", interpolation="nearest", vmin=0, vmax=0.5)
left.set_xticks(range(length), labels[:-1], fontsize=8)
left.set_yticks(range(length), labels[1:], fontsize=8)
left.set(title="Which input affects which guess", xlabel="input byte, position j", ylabel="byte to guess, position t")
left.text(0.97, 0.93, "the future:\nexactly 0", ha="right", va="top", transform=left.transAxes)
figure.colorbar(image, ax=left, label="share of the row", shrink=0.85, extend="max")
parts = [error for name, error in worst.items() if name not in grads_of_all]
parameters = [error for name, error in worst.items() if name in grads_of_all]
right.plot(range(len(parts)), parts, "s", color=BASE, label="the parts, sections 1 to 4")
right.plot(range(len(parts), len(worst)), parameters, "o", color=LORA, label="the whole model's parameters")
right.axhline(1e-7, color="black", linestyle="--", linewidth=1, label="tolerance")
right.set(title="Backward against finite differences", xlabel="array checked", yscale="log")
right.set_ylabel("largest error (relative where gradients exceed 1)")
right.set_ylim(1e-16, 1e-5)  # the biases of the keys, whose gradient is zero, lie far below
right.legend(fontsize=9)
show_figure(figure, "02_transformer.png")

# %% [markdown]
# Left: each row shows which bytes one guess depends on, as shares of the row. Right: the two biases of the keys, whose
# gradient is 0, are off the scale.
#
# ## What to try next
# - Break one line of `attention_backward` (forget the sum in $dS$, for example). Which check fails, and by how much?
# - Where in the model would a constant added to *all* scores of a position show up? (Look at the softmax, then at
#   $dy$.)
# - Make $T$ four times as long. How much more work is attention, and how much more is the MLP?
# - Which backward passes are needed if only $W_q$ of the last block trains? Look at `need_dx` in
#   `minilora/transformer.py`: this is where LoRA saves time.
# - Exercises 3 (GELU), 4 (LayerNorm), 5 (softmax), 6 (cross-entropy) and 7 (attention).
