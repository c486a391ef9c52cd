"""Exercise 30: attention whose query heads share keys and values."""

import math

import numpy as np

from minilora.exercises.findings import sizes_of
from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    keys, values = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0)
    scores = q @ keys.swapaxes(1, 2) / math.sqrt(D)
    seen = np.tril(np.ones((T, S), bool), k=S - T)
    scores = np.where(seen, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    P = e / e.sum(axis=-1, keepdims=True)
    return P @ values


def shared_backward(dkeys, K):
    H, S, D = dkeys.shape
    groups = dkeys.reshape(K, H // K, S, D)
    return groups.sum(axis=1)


def arguments(case: Case):
    """H = K G query heads.  `old` are the keys and values of earlier positions, which ask nothing any more."""
    q, dkeys = (case.values[name].reshape(-1, *case.values[name].shape[2:]) for name in ("q", "dkeys"))
    k, v = (np.concatenate([case.values[f"old_{name}"], case.values[name]], axis=1) for name in "kv")
    arrays = {"q": q * case.dtype(case["size"]), "k": k, "v": v, "dkeys": dkeys}
    return {**case.laid_out(arrays), "K": case.sizes["K"]}


def magnitude(q, k, v):
    """The scores carry an error of u |q||k| / sqrt(D), and exp makes it a relative one of P."""
    q, k, v = sizes_of((q, k, v))
    scores = q @ np.repeat(k, len(q) // len(k), axis=0).swapaxes(1, 2) / math.sqrt(q.shape[-1])
    return (1 + 3 * scores.max()) * v.max()


EXERCISE = Exercise(
    title="grouped-query attention",
    lesson=16,
    minutes=25,
    functions={"grouped_attention": grouped_attention, "shared_backward": shared_backward},
    inputs={
        "q": Floats("K G T D", decades=(-4,)),
        **{name: Floats("K P D", decades=(-4,)) for name in ("old_k", "old_v")},
        **{name: Floats("K T D", decades=(-4,)) for name in ("k", "v")},
        "dkeys": Floats("K G T D"),
        "size": OneOf((1, 1, 1e5)),
    },
    sizes={"K": (1, 3), "G": (1, 3), "P": (0, 3)},
    arguments=arguments,
    magnitude={"grouped_attention": magnitude},
    outputs={
        "grouped_attention": ("y = softmax(q k^T / sqrt(D)) v, head h with keys and values h // (H / K)",),
        "shared_backward": ("dk = sum of dkeys over the heads that share k",),
    },
    hints=(
        "Give every query head its own copy of its keys and values, (H, S, D), then do attention as in exercise 7.",
        "Heads 0 ... H/K - 1 share number 0: np.repeat copies each, np.tile the whole list. Query i is position "
        "S - T + i, so it sees keys up to that: np.tril(..., k=S - T). A sum undoes the copying.",
        "keys = np.repeat(k, H // K, axis=0); mask np.tril(np.ones((T, S), bool), k=S - T); shared_backward returns "
        "dkeys.reshape(K, H // K, S, D).sum(axis=1)",
    ),
    slips={
        "np.tile deals the keys out in turn: neighbouring heads share, as np.repeat has it": (
            "np.repeat(k, H // K, axis=0) -> np.tile(k, (H // K, 1, 1))",
            "np.repeat(v, H // K, axis=0) -> np.tile(v, (H // K, 1, 1))",
        ),
        "keys are repeated, values are dealt out in turn: both are shared by neighbouring heads": (
            "np.repeat(v, H // K, axis=0) -> np.tile(v, (H // K, 1, 1))"
        ),
        "every head uses the first keys and values": (
            "np.repeat(k, H // K, axis=0) -> np.repeat(k[:1], H, axis=0)",
            "np.repeat(v, H // K, axis=0) -> np.repeat(v[:1], H, axis=0)",
        ),
        "the causal mask is missing": "np.where(seen, scores, -np.inf) -> scores",
        "the queries are the last T positions, not the first: np.tril needs k=S - T": ", k=S - T) -> )",
        "a query must see its own position": "k=S - T -> k=S - T - 1",
        "masked scores are 0, which exp makes 1: use -inf": "scores, -np.inf) -> scores, 0)",
        "the scores are not scaled": " / math.sqrt(D) -> ",
        "the scores are divided by D: it is sqrt(D)": "math.sqrt(D) -> D",
        "the scores are divided by sqrt(H D): D is the size of one head": "math.sqrt(D) -> math.sqrt(H * D)",
        "the softmax is over the queries: it is over the keys": (
            "scores.max(axis=-1, keepdims=True) -> scores.max(axis=1, keepdims=True)",
            "e.sum(axis=-1, -> e.sum(axis=1,",
        ),
        "exp overflows: subtract each row's maximum first": "np.exp(scores - scores.max(axis=-1, keepdims=True)) -> "
        "np.exp(scores)",
        "dk is the mean over the heads that share k: it must be the sum": "groups.sum( -> groups.mean(",
        "dk is the first head's only: every head that shares k sends a gradient": "groups.sum(axis=1) -> groups[:, 0]",
        "dk sums the heads h, h + K, ...: neighbouring heads share": (
            "dkeys.reshape(K, H // K, S, D) -> dkeys.reshape(H // K, K, S, D).swapaxes(0, 1)"
        ),
    },
)
