"""SCRATCH: causal attention with grouped queries, to be folded into attention.py."""
from __future__ import annotations
import functools, math
from minilora.backend import Array, array_module
from minilora.ops import query_blocks, _empty_heads, _future, _softmax_of_columns, _scores


def _fold(x: Array, Hk: int) -> Array:
    """(B, H, n, D) -> (B, Hk, G n, D): the heads that share a key stand one below the other. A view where G = 1."""
    return x.reshape(x.shape[0], Hk, -1, x.shape[-1])


def _each_head(M: Array, x: Array, out: Array) -> None:
    """out = M^T x for every head.  M (B, Hk, keys, G n), x (B, Hk, keys, D) -> out (B, H, n, D)."""
    B, Hk, keys, rows = M.shape
    n, D = out.shape[2:]
    M = M.reshape(B, Hk, keys, rows // n, n).transpose(0, 1, 3, 4, 2)
    array_module(M).matmul(M, x[:, :, None], out=out.reshape(B, Hk, rows // n, n, D))


def causal_attention(q, k, v):
    xp = array_module(q)
    Hk = k.shape[1]
    y = _empty_heads(q, q.shape)
    P = []
    q = q * (1 / math.sqrt(q.shape[-1]))
    for queries, keys in query_blocks(q.shape[2], k.shape[2]):
        S = _scores(k[:, :, keys], _fold(q[:, :, queries], Hk))
        n = queries.stop - queries.start
        if n > 1:
            own = S[:, :, -n:].reshape(*S.shape[:2], n, -1, n)
            own += _future(xp, n, q.dtype)[:, None]
        _softmax_of_columns(S)
        _each_head(S, v[:, :, keys], out=y[:, :, queries])
        P.append(S)
    return y, P


def causal_attention_dv(dy, v, P):
    return _sum_over_blocks(P, dy, like=v)


def causal_attention_dscores(dy, v, y, P):
    xp = array_module(dy)
    y_dot_dy = xp.einsum("bhtd,bhtd->bht", y, dy)
    dS = []
    B, Hk = v.shape[:2]
    for (queries, keys), P_block in zip(query_blocks(dy.shape[2], v.shape[2]), P, strict=True):
        block = _scores(v[:, :, keys], _fold(dy[:, :, queries], Hk))
        block -= y_dot_dy[..., queries].reshape(B, Hk, 1, -1)
        block *= P_block
        dS.append(block)
    return dS


def causal_attention_dq(dS, q, k):
    dq = _empty_heads(q, q.shape)
    for (queries, keys), block in zip(query_blocks(q.shape[2], k.shape[2]), dS, strict=True):
        _each_head(block, k[:, :, keys], out=dq[:, :, queries])
    dq *= 1 / math.sqrt(q.shape[-1])
    return dq


def causal_attention_dk(dS, q, k):
    return _sum_over_blocks(dS, q * (1 / math.sqrt(q.shape[-1])), like=k)


def _sum_over_blocks(blocks, x, like):
    xp = array_module(x)
    result = _empty_heads(like, like.shape)
    for (queries, keys), block in reversed(list(zip(query_blocks(x.shape[2], like.shape[2]), blocks, strict=True))):
        rows = _fold(x[:, :, queries], like.shape[1])
        if queries.stop == x.shape[2]:
            xp.matmul(block, rows, out=result)
        else:
            result[:, :, keys] += block @ rows
    return result
