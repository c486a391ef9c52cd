# %% [markdown]
# # 1 · One linear layer, and its gradients by hand
#
# **After this lesson you can**
# - say what a linear layer computes, and which way round its matrix goes;
# - derive its three gradients with a pencil: for the input, the weight and the bias;
# - check any gradient against finite differences, with a step $h$ that makes the check meaningful;
# - train a layer on real text with nothing but these formulas, and know when it cannot get any better;
# - write LoRA for this layer in ten lines.
#
# **You need** `pip install -e ".[plots]"`, matrices, and Python. It takes about 5 seconds to run.

# %%
import math

import numpy as np

import minilora as ml
from minilora import ops
from minilora.plots import BASE, FULL, LORA, OTHER, show_figure, subplots

# %% [markdown]
# ## 1. The layer
# **Question.** What does the most common part of a neural network compute?
#
# **Formula.** It turns $k$ numbers $x_1, \dots, x_k$ into $d$ numbers. Each output is a weighted sum of all the inputs,
# plus a constant:
#
# $$ y_i = \sum_{j=1}^{k} W_{ij}\, x_j + b_i, \qquad i = 1, \dots, d $$
#
# $W$ has $d$ rows and $k$ columns, written $W \in \mathbb{R}^{d \times k}$: one row for each output, one column for
# each input. $b$ has $d$ entries. Both are *parameters*, the numbers that training changes.
#
# We feed in many inputs at once, say $n$, each as a *row* of a matrix $x \in \mathbb{R}^{n \times k}$; the outputs are
# the rows of $y \in \mathbb{R}^{n \times d}$. All of those sums are then one matrix product, $y = x W^\top + b$, where
# $W^\top$ is $W$ with its rows and columns swapped, and $b$ is added to every row.

# %%
rng = np.random.default_rng(0)
n, k, d = 8, 6, 5
x, W, b = rng.standard_normal((n, k)), rng.standard_normal((d, k)), rng.standard_normal(d)

y = x @ W.T + b
by_sums = np.array([[sum(W[i, j] * x[row, j] for j in range(k)) + b[i] for i in range(d)] for row in range(n)])
print(f"x {x.shape}, W {W.shape}, b {b.shape} -> y {y.shape}")
assert np.allclose(y, by_sums)
assert np.array_equal(y, ops.linear(x, W, b)), "this is minilora's layer"

# %% [markdown]
# ## 2. Its gradients
# **Question.** Somewhere above this layer, a single number $L$ comes out: the *loss*, which measures how bad the
# network's answer is. Which way must $W$, $b$ and $x$ move to make $L$ smaller?
#
# **Formula.** The *gradient* of $L$ with respect to $W$ is the matrix of all $\partial L / \partial W_{ij}$: how fast
# $L$ grows as that one entry grows. It has the shape of $W$; we call it $dW$, and define $dx$, $db$ and $dy$ the same
# way. Suppose the layer above hands us $dy$. The chain rule says: to find how $L$ changes with a number, add up its
# effects through everything that the number changes directly.
#
# - $b_i$ is added to $y_i$ in every row: $\; db_i = \sum_{\text{rows}} dy_i$.
# - $W_{ij}$ changes $y_i$ by $x_j$, in every row: $\; dW_{ij} = \sum_{\text{rows}} dy_i\, x_j$.
# - $x_j$ changes every $y_i$ in its own row, by $W_{ij}$: $\; dx_j = \sum_i dy_i\, W_{ij}$.
#
# These sums are matrix products again. (Check the shapes: only one order of the factors fits.)
#
# $$ dW = dy^\top x \quad (d \times k), \qquad dx = dy\, W \quad (n \times k),
#    \qquad db = \text{sum of the rows of } dy $$

# %%
dy = rng.standard_normal((n, d))  # stands in for the gradient from above
dW, dx, db = dy.T @ x, dy @ W, dy.sum(axis=0)

dW_by_sums = np.zeros((d, k))
for row in range(n):
    for i in range(d):
        for j in range(k):
            dW_by_sums[i, j] += dy[row, i] * x[row, j]
assert np.allclose(dW, dW_by_sums)
assert np.array_equal(dW, ops.linear_dW(dy, x))
assert np.array_equal(dx, ops.linear_dx(dy, W))
assert np.array_equal(db, ops.linear_db(dy))
print(f"dW {dW.shape}, dx {dx.shape}, db {db.shape}: the shapes of W, x and b")

# %% [markdown]
# All of `minilora/ops.py` looks like this: a forward function, followed by one function for each derivative.
#
# ## 3. A loss: how surprised is the layer?
# **Question.** Where does $dy$ come from?
#
# **Formula.** Let the layer guess which of $d$ things comes next, and treat its outputs as scores, called *logits*. The
# *softmax* turns logits into probabilities, which are positive and sum to 1.
#
# $$ P_i = \frac{e^{y_i}}{\sum_{m} e^{y_m}}, \qquad L = -\log P_t = \log \sum_m e^{y_m} - y_t $$
#
# $t$ is the *target*, the thing that actually came. $L$ is the surprise: 0 if the layer was certain and right. With
# natural logarithms, its unit is the *nat*. Over a batch we take the mean. Now the derivative. $y_i$ appears in the
# first term, and the derivative of the log of a sum of exponentials is exactly $P_i$; the target's logit also appears
# in the second term. So
#
# $$ dy_i = \frac{1}{n}\,\big(P_i - [\,i = t\,]\big), $$
#
# where $[\,i = t\,]$ is 1 for the target and 0 otherwise. A step downhill lowers the logits of whatever did not come
# and raises the logit of what did, each in proportion to how wrong it was.


# %%
def mean_loss(x, W, b, targets):
    """The mean surprise in nats."""
    y = x @ W.T + b
    y = y - y.max(axis=1, keepdims=True)  # leaves the softmax unchanged, and keeps exp from overflowing
    return float((np.log(np.exp(y).sum(axis=1)) - y[np.arange(len(y)), targets]).mean())


def gradients(x, W, b, targets):
    """(dx, dW, db) of the mean surprise."""
    _, P = ops.cross_entropy(ops.linear(x, W, b), targets)
    dy = ops.cross_entropy_dlogits(P, targets, np.full(len(x), 1 / len(x), x.dtype))
    return dy @ W, dy.T @ x, dy.sum(axis=0)


targets = rng.integers(d, size=n)
nll, P = ops.cross_entropy(y, targets)
assert np.allclose(P.sum(axis=1), 1)
assert math.isclose(mean_loss(x, W, b, targets), nll.mean())
knows_nothing = mean_loss(x, np.zeros((d, k)), np.zeros(d), targets)
print(f"with W = 0 and b = 0 all {d} are equally likely: {knows_nothing:.4f} nats = log {d}")
assert math.isclose(knows_nothing, math.log(d))

# %% [markdown]
# ## 4. Are the gradients right?
# **Question.** A wrong gradient does not crash; it just trains badly. How do you find out?
#
# **Formula.** Move one entry $w$ by a small $h$ in each direction and look at the loss. By Taylor's formula
#
# $$ \frac{L(w + h) - L(w - h)}{2h} = L'(w) + \frac{h^2}{6} L'''(w) + \dots $$
#
# so the error of this *central difference* shrinks as $h^2$. Should $h$ then be as small as possible? No: the computer
# knows $L$ only to within about $u |L|$, where $u$ is the *unit roundoff*, the largest relative error of a single
# rounding: $2^{-53} \approx 10^{-16}$ in float64, $2^{-24} \approx 6 \cdot 10^{-8}$ in float32. Divided by $h$, that
# error *grows* as $h$ shrinks:
#
# $$ \text{error} \approx \underbrace{c\, h^2}_{\text{Taylor}} + \underbrace{u |L| / h}_{\text{rounding}} \qquad
#    \text{smallest near } h \approx u^{1/3} $$
#
# (Set the derivative with respect to $h$ to zero: $2 c h = u |L| / h^2$, so $h = u^{1/3} (|L| / 2c)^{1/3}$.) $u^{1/3}$
# is about $5 \cdot 10^{-6}$ in float64 and $4 \cdot 10^{-3}$ in float32. The second factor is several times 1 here: the
# softmax is smooth, so $c$ is small.
#
# **Code.** The largest error over all entries of $W$, for many values of $h$, in both precisions.


# %%
def differences(dtype, h: float):
    """The central difference of the loss for every entry of W."""
    x_, W_, b_ = (array.astype(dtype) for array in (x, W, b))
    slopes = np.zeros(W.shape)
    for index in np.ndindex(W.shape):
        up, down = W_.copy(), W_.copy()
        up[index] += dtype(h)
        down[index] -= dtype(h)
        moved = float(up[index]) - float(down[index])  # the true distance: W + h is rounded too
        y_up, y_down = (ops.cross_entropy(ops.linear(x_, M, b_), targets)[0].mean() for M in (up, down))
        slopes[index] = float(y_up - y_down) / moved if moved else 0.0
    return slopes


dx, dW, db = gradients(x, W, b, targets)
steps = 10.0 ** np.arange(-12, 0.1, 0.5)
errors = {
    dtype: np.array([np.abs(differences(dtype, h) - dW).max() for h in steps]) for dtype in (np.float64, np.float32)
}
c = errors[np.float64][-3] / steps[-3] ** 2  # at h = 0.1 nearly all of the error is Taylor's
factor = (mean_loss(x, W, b, targets) / (2 * c)) ** (1 / 3)
print(f"c = {c:.3f}, so (|L| / 2c)^(1/3) = {factor:.1f}")
for dtype, error in errors.items():
    u = np.finfo(dtype).eps / 2
    print(
        f"{dtype.__name__}: best h {steps[error.argmin()]:.0e} (formula: {factor * u ** (1 / 3):.0e}), "
        f"error there {error.min():.0e}, at h = 1e-12 {error[0]:.0e}"
    )
    assert u ** (1 / 3) / 30 < steps[error.argmin()] < 30 * u ** (1 / 3)
    assert error.min() < min(error[0], error[-1]) / 10, "too small an h is as bad as too large a one"
assert errors[np.float64].min() < 1e-8, "eight digits agree: the gradient is right"
assert errors[np.float64].min() < errors[np.float32].min() / 100

# %% [markdown]
# This is why minilora's tests check every gradient in float64. Would the check catch a mistake? Make one and see:

# %%
best = steps[errors[np.float64].argmin()]
for mistake, wrong in {"none": dW, "the 1/n is missing": dW * n, "the sign is wrong": -dW}.items():
    print(f"mistake: {mistake:<20} largest difference {np.abs(differences(np.float64, best) - wrong).max():.0e}")
    assert (np.abs(differences(np.float64, best) - wrong).max() < 1e-8) == (mistake == "none")

# %% [markdown]
# ## 5. Train it
# **Question.** What can one layer learn from real text?
#
# **Task.** A text is a sequence of bytes, numbers from 0 to 255. Given one byte, guess the next. The input is a
# *one-hot* row: 256 numbers, all 0 except for a 1 at the byte's place. So $x W^\top$ picks out a column of $W$: the
# logits of the 256 bytes that could follow. (We leave out the bias; it would add nothing here.)
#
# There are only 256 different inputs. We use each once, $x = I$, and weight its loss by how often it occurs in the
# text. The result is exactly the mean loss over the whole text.
#
# **Formula.** *Gradient descent*: $W \leftarrow W - \eta\, g$ with $g = dW$ and a *learning rate* $\eta$. How large can
# $\eta$ be? That depends on how sharply the loss curves.
#
# - Take one byte, and move its logits along a direction $v$ of length 1. The second derivative of $\log \sum_i e^{y_i}$
#   is then the variance of the numbers $v_i$ under the probabilities $P_i$. It is never negative: the loss is a bowl
#   (*convex*).
# - A variance is at most $(\max v - \min v)^2 / 4$, and a $v$ of length 1 has $\max v - \min v \le \sqrt 2$. So the
#   variance is at most $1/2$.
# - Each byte has its own column of $W$, and its loss is weighted by the byte's share $p_a$ of the text. So the second
#   derivative along any direction of $W$ of length 1 is at most $p_{\max}/2$, where $p_{\max}$ is the share of the most
#   common byte.
#
# A step of $-\eta g$ therefore lowers the loss by the slope's $\eta |g|^2$, minus what the curvature takes back:
#
# $$ L(W - \eta g) \le L(W) - \eta\, |g|^2 + \frac{\eta^2}{2} \cdot \frac{p_{\max}}{2}\, |g|^2 $$
#
# For every $\eta \le 4/p_{\max}$ this is at most $L(W)$. We take half of that, where the right-hand side is smallest.
#
# And how low can the loss go? Count: if byte $a$ was followed by $c$ in a share $q(c \mid a)$ of all cases, then no
# layer can do better than to predict exactly $q$. The loss of that prediction is the *conditional entropy* of the text.

# %%
tokenizer = ml.ByteTokenizer()
text = tokenizer.encode(ml.python_docs()[:100_000])
counts = np.zeros((256, 256))
np.add.at(counts, (text[:-1], text[1:]), 1)  # counts[a, c]: how often c follows a
share = counts / counts.sum()
p = share.sum(axis=1)  # p[a]: the share of byte a
q = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
entropy = float(-(share[share > 0] * np.log(q[share > 0])).sum())

x, W = np.eye(256), np.zeros((256, 256))
eta = 2 / p.max()
losses = []
for _ in range(300):
    logits = ops.linear(x, W)
    P = np.exp(logits - logits.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    losses.append(float(-(share * np.log(P)).sum()))
    dy = p[:, None] * P - share  # p (P - q): the mean of P - [i = t] over all pairs
    W -= eta * ops.linear_dW(dy, x)
losses = np.array(losses)
print(f"learning rate {eta:.1f}: loss {losses[0]:.3f} = log 256 -> {losses[-1]:.3f} nats per byte")
print(f"best possible: {entropy:.3f}")
assert math.isclose(losses[0], math.log(256))
assert (np.diff(losses) < 0).all(), "every step goes down, as promised"
assert losses[-1] > entropy

# %% [markdown]
# You can read what it has learned from the columns of $W$:

# %%
for byte in b"qth.":
    follows = ", ".join(repr(chr(c)) for c in np.argsort(-W[:, byte])[:4] if counts[byte, c])
    print(f"after {chr(byte)!r}: {follows}")
assert chr(int(W[:, ord("q")].argmax())) == "u"

# %% [markdown]
# One layer that sees one byte can do no more. To do better, a model must look further back: lesson 2.
#
# ## 6. LoRA in ten lines
# **Question.** The layer has read English. Now it meets Python's source, where other bytes follow each other. Must we
# train all 65,536 entries of $W$ again?
#
# **Formula** (Hu et al. 2021, eq. 3). Keep the trained $W$ as it is, call it $W_0$, and train two thin matrices beside
# it, $B$ with $r$ columns and $A$ with $r$ rows:
#
# $$ W = W_0 + B A, \qquad B \in \mathbb{R}^{256 \times r}, \quad A \in \mathbb{R}^{r \times 256} $$
#
# $B$ starts at zero, so training starts from $W_0$. Their gradients follow from $dW$ by the same chain rule as above,
# because $BA$ is a matrix product: $dB = dW\, A^\top$ and $dA = B^\top dW$.

# %%
code = tokenizer.encode(ml.python_source(100_000))
counts_code = np.zeros((256, 256))
np.add.at(counts_code, (code[:-1], code[1:]), 1)
share_code = counts_code / counts_code.sum()


def loss_and_dW(W):
    """The mean loss on the source, and its gradient."""
    logits = ops.linear(x, W)
    P = np.exp(logits - logits.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    dy = share_code.sum(axis=1)[:, None] * P - share_code
    return float(-(share_code * np.log(P)).sum()), ops.linear_dW(dy, x)


W0, r, slower = W, 8, eta / 5  # a product of two matrices curves more sharply than one matrix
A, B = rng.standard_normal((r, 256)) / 16, np.zeros((256, r))  # 16 = sqrt(256): each row of A has length 1 or so
lora_losses = []
for _ in range(300):
    loss, dW = loss_and_dW(W0 + B @ A)
    dB, dA = dW @ A.T, B.T @ dW
    B, A = B - slower * dB, A - slower * dA
    lora_losses.append(loss)
before = loss_and_dW(W0)[0]
print(f"source: {before:.3f} nats per byte before, {lora_losses[-1]:.3f} with LoRA, r = {r}", end="; ")
print(f"{A.size + B.size:,} numbers trained, {W0.size:,} frozen")
assert lora_losses[0] == before, "B = 0: it starts as the layer that read English"
assert lora_losses[-1] < before - 0.3
assert np.linalg.matrix_rank(B @ A) == r

# %% [markdown]
# That is all of LoRA; lesson 5 says why it is written this way, and puts it into a transformer. The *rank* of $BA$ is
# the number of directions that it uses: all its columns are mixtures of the $r$ columns of $B$.
#
# ## 7. The picture

# %%
figure, (left, right) = subplots(1, 2, figsize=(9, 3.7))
for (dtype, error), color, style in zip(errors.items(), (LORA, OTHER), ("o-", "s--"), strict=True):
    left.loglog(steps, error, style, color=color, markersize=4, label=dtype.__name__)
    rounding = np.finfo(dtype).eps / 2 * nll.mean() / steps
    left.loglog(steps, np.where(rounding < 1, rounding, np.nan), ":", color=color, linewidth=1)
taylor = errors[np.float64][-3] * (steps / steps[-3]) ** 2
left.loglog(steps[9:], taylor[9:], "-.", color=BASE, linewidth=1, label=r"$\propto h^2$ (Taylor)")
left.plot([], [], ":", color=BASE, linewidth=1, label="$u|L|/h$ (rounding)")
left.set(title="Error of a central difference", xlabel="step h", ylabel="largest error in an entry of dW")
left.set_ylim(1e-13, 20)
left.legend(fontsize=8)
right.plot(losses, color=FULL, label="one layer, gradient descent")
right.plot(lora_losses, color=LORA, label=f"then LoRA on source, r = {r}")
right.axhline(math.log(256), color=BASE, linestyle=":", label="knowing nothing: log 256")
right.axhline(entropy, color=BASE, linestyle="--", label="best possible: conditional entropy")
right.set(title="One layer learns to read", xlabel="step", ylabel="loss (nats per byte)", ylim=(0, None))
right.legend(fontsize=8)
show_figure(figure, "01_one_layer.png")

# %% [markdown]
# Left: where the float32 curve is flat, adding $h$ to $W$ changes nothing. $W + h = W$, the difference is 0, and the
# error is as large as the gradient itself.
#
# ## What to try next
# - Use the one-sided difference $(L(w + h) - L(w)) / h$. Which power of $h$ does its error follow, which $h$ is best,
#   and how many digits do you lose?
# - Keep doubling $\eta$. When does the loss first go up? (The bound covers the worst direction.)
# - Put one linear layer after another. Show that together they compute nothing that a single one could not. What has to
#   go between them?
# - Use $r = 1$ and $r = 64$ in section 6. What does each cost, and what does it reach?
# - Exercises 1 (linear backward) and 2 (gradient check).
