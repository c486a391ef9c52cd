"""The attention of `ops.py`, made fast: the same functions, and tests hold them equal in value and gradient.

- Queries go in blocks, and a block skips the keys that are masked for all of it.
- Scores are transposed, (keys, queries), because NumPy works down columns several times faster than along short rows;
  a key's rows of all heads are side by side, so that these passes have long inner loops.
- The G = H / K query heads that share a head of keys meet it in one product, as G n rows where there are n queries: no
  key is copied.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

from minilora.machine.backend import Array, array_module

QUERY_BLOCK = 64


def query_blocks(Tq: int, Tk: int) -> list[tuple[slice, slice]]:
    """(queries, keys) of each block: the last key that a block may see is the one of its last query."""
    starts = range(0, Tq, QUERY_BLOCK)
    ends = [min(i + QUERY_BLOCK, Tq) for i in starts]
    return [(slice(i, j), slice(0, Tk - Tq + j)) for i, j in zip(starts, ends, strict=True)]


def _empty_heads(like: Array, shape: tuple[int, ...]) -> Array:
    """An empty array of a shape (B, H, T, D), laid out (B, T, H, D): merging its heads again is no copy."""
    B, H, T, D = shape
    return array_module(like).empty((B, T, H, D), dtype=like.dtype).transpose(0, 2, 1, 3)


def _grouped(x: Array, K: int) -> Array:
    """(B, H, n, D) -> (B, K, G n, D): the rows of a group's heads one below the other.  A view where G is 1."""
    return x.reshape(x.shape[0], K, -1, x.shape[-1])


def _product_per_head(M: Array, x: Array, out: Array) -> None:
    """out = M^T x for each head.  M (B, K, keys, G n), x (B, K, keys, D), out (B, H, n, D)."""
    B, K, keys, rows = M.shape
    n, D = out.shape[2:]
    M = M.reshape(B, K, keys, rows // n, n).transpose(0, 1, 3, 4, 2)
    array_module(x).matmul(M, x[:, :, None], out=out.reshape(B, K, rows // n, n, D))


def causal_attention(q: Array, k: Array, v: Array) -> tuple[Array, list[Array]]:
    """y, and for backward the transposed softmax P^T, one array (B, K, keys, G queries) per block.

    q (B, H, Tq, D), k and v (B, K, Tk, D) -> y (B, H, Tq, D).
    """
    xp, K = array_module(q), k.shape[1]
    y = _empty_heads(q, q.shape)
    P = []
    q = q * (1 / math.sqrt(q.shape[-1]))
    for queries, keys in query_blocks(q.shape[2], k.shape[2]):
        S = _scores(k[:, :, keys], _grouped(q[:, :, queries], K))
        n = queries.stop - queries.start
        if n > 1:  # the last n keys are the block's own positions
            own = S[:, :, -n:].reshape(*S.shape[:2], n, -1, n)
            own += _future(xp, n, q.dtype)[:, None]
        _softmax_of_columns(S)
        _product_per_head(S, v[:, :, keys], out=y[:, :, queries])
        P.append(S)
    return y, P


@functools.cache
def _future(xp: ModuleType, n: int, dtype: Any) -> Array:
    """(keys, queries) of the same n positions: -inf where a key comes after its query, else 0."""
    return xp.tril(xp.full((n, n), -xp.inf, dtype=dtype), k=-1)


def _scores(k: Array, q: Array) -> Array:
    """k q^T, (B, K, keys, rows).  k (B, K, keys, D), q (B, K, rows, D)."""
    S = _empty_heads(k, (*k.shape[:3], q.shape[2]))
    return array_module(k).matmul(k, q.swapaxes(-1, -2), out=S)


def _softmax_of_columns(S: Array) -> None:
    """exp(S) / sum(exp(S)) down the columns, in place."""
    xp = array_module(S)
    S -= S.max(axis=-2, keepdims=True)
    xp.exp(S, out=S)
    S *= 1 / S.sum(axis=-2, keepdims=True)


def causal_attention_dv(dy: Array, v: Array, P: list[Array]) -> Array:
    """y = P v is linear in v: dv = P^T dy, summed over a group's heads.  dy (B, H, Tq, D) -> (B, K, Tk, D)."""
    return _sum_over_blocks(P, dy, like=v)


def causal_attention_dscores(dy: Array, v: Array, y: Array, P: list[Array]) -> list[Array]:
    """dS = P (dP - y . dy) with dP = dy v^T, in blocks shaped like P's."""
    xp = array_module(dy)
    B, K = v.shape[:2]
    y_dot_dy = xp.einsum("bhtd,bhtd->bht", y, dy)
    dS = []
    for (queries, keys), P_block in zip(query_blocks(dy.shape[2], v.shape[2]), P, strict=True):
        block = _scores(v[:, :, keys], _grouped(dy[:, :, queries], K))
        block -= y_dot_dy[..., queries].reshape(B, K, 1, -1)
        block *= P_block
        dS.append(block)
    return dS


def causal_attention_dq(dS: list[Array], q: Array, k: Array) -> Array:
    """S_ij = q_i . k_j / sqrt(D): dq = dS k / sqrt(D).  -> (B, H, Tq, D)."""
    dq = _empty_heads(q, q.shape)
    for (queries, keys), block in zip(query_blocks(q.shape[2], k.shape[2]), dS, strict=True):
        _product_per_head(block, k[:, :, keys], out=dq[:, :, queries])
    dq *= 1 / math.sqrt(q.shape[-1])
    return dq


def causal_attention_dk(dS: list[Array], q: Array, k: Array) -> Array:
    """S_ij = q_i . k_j / sqrt(D): dk = dS^T q / sqrt(D), summed over a group's heads.  -> (B, K, Tk, D)."""
    return _sum_over_blocks(dS, q * (1 / math.sqrt(q.shape[-1])), like=k)


def _sum_over_blocks(blocks: list[Array], x: Array, like: Array) -> Array:
    """M x for a (Tk, G Tq) matrix M given in blocks of queries.  x (B, H, Tq, D) -> (B, K, Tk, D).

    From the last block, which reaches every key, backwards: the first product fills the result.
    """
    xp = array_module(x)
    result = _empty_heads(like, like.shape)
    for (queries, keys), block in reversed(list(zip(query_blocks(x.shape[2], like.shape[2]), blocks, strict=True))):
        rows = _grouped(x[:, :, queries], like.shape[1])
        if queries.stop == x.shape[2]:
            xp.matmul(block, rows, out=result)
        else:
            result[:, :, keys] += block @ rows
    return result
