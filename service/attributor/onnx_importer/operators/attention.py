"""Attention of queries to keys, and rotary embeddings."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded

_MODES = {0: "raw", 1: "capped", 2: "biased", 3: "softmax"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """A node as it was read. `left`, `right`: the window around a query, -1 without an end; `precision`: of the
    softmax; `shown`: which logits the fourth output is, None if nobody wants it."""

    version: int
    causal: bool
    left: int
    right: int
    scale: float | None
    softcap: float
    precision: Callable[[], torch.dtype] | None
    shown: int | None
    heads: tuple[int, int] | None


@operator(
    "Attention",
    versions=(23, 24, 25),
    attributes="is_causal kv_num_heads left_window_size q_num_heads qk_matmul_output_mode right_window_size scale "
    "softcap softmax_precision",
)
def attention(node: Node) -> Function:
    """softmax(Q K' scale + bias) V over heads; a query that may see no key gives 0, and a gradient of 0."""
    plan = _planned(node)
    plain = plan.softcap == 0 and plan.shown is None and plan.precision is None

    def attend(
        q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *rest: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        past_key, past_value, valid = (*rest, None, None, None)[:3]
        flat = q.dim() == 3
        q, k, v = _by_head(plan, q, k, v)
        offset = _offset(past_key, valid, q)
        if past_key is not None and past_value is not None:
            k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
        present = (k, v)
        if q.shape[1] != k.shape[1]:
            k, v = (each.repeat_interleave(q.shape[1] // k.shape[1], 1) for each in (k, v))
        shown = None
        if plain and mask is past_key is valid is None and plan.left == plan.right == -1:
            found = F.scaled_dot_product_attention(q, k, v, is_causal=plan.causal, scale=plan.scale)
        else:
            seen = _bias(plan, mask, _allowed(plan, q, k, offset, valid), q, k)
            compute = _fused if plain else _stepwise
            found, shown = compute(plan, q, k, v, seen)
        return found.transpose(1, 2).flatten(2) if flat else found, *present, shown

    return attend


def _planned(node: Node) -> _Plan:
    mode = node.integer("qk_matmul_output_mode", 0)
    if mode not in _MODES:
        raise Unsupported(f"has qk_matmul_output_mode {mode}, which we do not know")
    heads = (node.integer("q_num_heads", 0), node.integer("kv_num_heads", 0))
    if min(heads) < 0 or (heads[0] == 0) != (heads[1] == 0) or (heads[1] > 0 and heads[0] % heads[1]):
        raise Unsupported(f"has {heads[0]} heads of queries and {heads[1]} of keys, which do not fit")
    scale = node.number("scale") if "scale" in node.attributes else None
    softcap = node.number("softcap", 0.0)
    if (scale is not None and scale <= 0) or softcap < 0:
        raise Unsupported(f"has a scale of {scale} and a softcap of {softcap}")
    present = (*node.present, *(False,) * 7)[:7]
    if present[4] != present[5] or (present[4] and present[6]):
        raise Unsupported("has one of past_key and past_value, or both and nonpad_kv_seqlen")
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    if min(left, right) < -1:
        raise Unsupported(f"has a window of {left} and {right} positions")
    return _Plan(
        version=node.version,
        causal=node.integer("is_causal", 0) != 0,
        left=left,
        right=right,
        scale=scale,
        softcap=softcap,
        precision=node.dtype("softmax_precision") if "softmax_precision" in node.attributes else None,
        shown=mode if len(node.wanted) > 3 and node.wanted[3] else None,
        heads=heads if heads[0] else None,
    )


def _by_head(plan: _Plan, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, heads, positions, features) of each."""
    if not q.dim() == k.dim() == v.dim() or q.dim() not in (3, 4):
        raise ValueError(f"Attention takes three or four axes, not shapes {[list(x.shape) for x in (q, k, v)]}.")
    if q.dim() == 3:
        if plan.heads is None:
            raise ValueError("Attention of inputs with three axes needs q_num_heads and kv_num_heads.")
        q = torch.unflatten(q, 2, (plan.heads[0], -1)).transpose(1, 2)
        k, v = (torch.unflatten(each, 2, (plan.heads[1], -1)).transpose(1, 2) for each in (k, v))
    fits = q.shape[0] == k.shape[0] == v.shape[0] and k.shape[1:3] == v.shape[1:3] and q.shape[1] % k.shape[1] == 0
    if not fits or q.shape[3] != k.shape[3]:
        raise ValueError(f"Attention got shapes that do not fit: {[list(x.shape) for x in (q, k, v)]}.")
    return q, k, v


def _offset(past_key: Tensor | None, valid: Tensor | None, q: Tensor) -> int | Tensor:
    """How many keys come before the first query; of each row, where `valid` keys are counted."""
    if valid is not None:
        return (valid - q.shape[2]).reshape(-1, 1, 1, 1)
    return 0 if past_key is None else past_key.shape[2]


def _allowed(plan: _Plan, q: Tensor, k: Tensor, offset: int | Tensor, valid: Tensor | None) -> Tensor | None:
    """Which keys a query may see by their places; None: all."""
    queries = torch.arange(q.shape[2], device=q.device)[:, None] + offset
    keys = torch.arange(k.shape[2], device=q.device)
    rules = []
    if plan.causal:
        rules.append(keys <= queries)
    if plan.left >= 0:
        rules.append(keys >= queries - plan.left)
    if plan.right >= 0:
        rules.append(keys <= queries + plan.right)
    if valid is not None:
        rules.append(keys < valid.reshape(-1, 1, 1, 1))
    found = None
    for rule in rules:
        found = rule if found is None else found & rule
    return found


def _bias(plan: _Plan, mask: Tensor | None, allowed: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """The mask and the places together, of four axes: what may be seen, or what is added to the logits."""
    if mask is None:
        return None if allowed is None else allowed.reshape((1,) * (4 - allowed.dim()) + tuple(allowed.shape))
    missing = k.shape[2] - mask.shape[-1]
    if missing and plan.version >= 24:
        if mask.shape[-1] == 1:
            raise ValueError(f"A mask of one key for {k.shape[2]} could be meant for all of them or for the first.")
        mask = F.pad(mask, (0, missing), value=False if mask.dtype is torch.bool else float("-inf"))
    mask = mask.reshape((1,) * (4 - mask.dim()) + tuple(mask.shape))
    if mask.dtype is not torch.bool:
        mask = mask.to(q.dtype)
    if allowed is None:
        return mask
    return mask & allowed if mask.dtype is torch.bool else torch.where(allowed, mask, float("-inf"))


def _blind(seen: Tensor) -> Tensor:
    """Queries that may see no key."""
    return ~(seen if seen.dtype is torch.bool else seen > float("-inf")).any(-1, keepdim=True)


def _fused(plan: _Plan, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> tuple[Tensor, None]:
    if seen is None:
        return F.scaled_dot_product_attention(q, k, v, scale=plan.scale), None
    # Kernels differ in what they make of a query that sees nothing: it is shown all, and its answer is put aside.
    blind = _blind(seen)
    safe = seen | blind if seen.dtype is torch.bool else torch.where(blind, 0.0, seen)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=safe, scale=plan.scale)
    return torch.where(blind, 0.0, found), None


def _stepwise(plan: _Plan, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As ONNX draws it, for what no fused kernel gives."""
    root = math.sqrt(plan.scale if plan.scale is not None else 1 / math.sqrt(q.shape[3]))
    bounded(*q.shape[:3], k.shape[2])
    stages = [(q * root) @ (k.transpose(2, 3) * root)]
    stages.append(plan.softcap * torch.tanh(stages[0] / plan.softcap) if plan.softcap else stages[0])
    logits = stages[1]
    blind = None if seen is None else _blind(seen)
    if seen is not None:
        biased = logits.masked_fill(~seen, float("-inf")) if seen.dtype is torch.bool else logits + seen
        stages.append(biased)
        logits = torch.where(blind, 0.0, biased) if blind is not None else biased
    else:
        stages.append(logits)
    weights = torch.softmax(logits if plan.precision is None else logits.to(plan.precision()), -1).to(q.dtype)
    if blind is not None:
        weights = torch.where(blind, 0.0, weights)
    stages.append(weights)
    return weights @ v, None if plan.shown is None else stages[plan.shown]


@operator("RotaryEmbedding", versions=(23,), attributes="interleaved num_heads rotary_embedding_dim")
def rotary_embedding(node: Node) -> Function:
    """Pairs of features turned by an angle that follows from the position; those behind `rotary_embedding_dim` stay."""
    heads, dim = node.integer("num_heads", 0), node.integer("rotary_embedding_dim", 0)
    interleaved = node.integer("interleaved", 0) != 0
    if heads < 0 or dim < 0 or dim % 2:
        raise Unsupported(f"has {heads} heads and turns {dim} features")

    def turned(x: Tensor, cos: Tensor, sin: Tensor, places: Tensor | None = None) -> Tensor:
        if x.dim() not in (3, 4) or (x.dim() == 3 and heads == 0):
            raise ValueError(f"RotaryEmbedding got shape {list(x.shape)} and {heads} heads.")
        by_head = x.transpose(1, 2) if x.dim() == 4 else torch.unflatten(x, 2, (heads, -1))
        n = dim or by_head.shape[3]
        rotated, rest = by_head[..., :n], by_head[..., n:]
        if places is not None:
            cos, sin = cos[places], sin[places]
        if tuple(cos.shape) != (*by_head.shape[:2], n // 2) or cos.shape != sin.shape:
            raise ValueError(f"RotaryEmbedding got angles of shape {list(cos.shape)} for an input of {list(x.shape)}.")
        cos, sin = cos[:, :, None], sin[:, :, None]
        first, second = (rotated[..., 0::2], rotated[..., 1::2]) if interleaved else rotated.chunk(2, -1)
        real, imaginary = cos * first - sin * second, sin * first + cos * second
        pairs = torch.stack([real, imaginary], -1).flatten(3) if interleaved else torch.cat([real, imaginary], -1)
        found = torch.cat([pairs, rest], -1) if rest.shape[-1] else pairs
        return found.transpose(1, 2) if x.dim() == 4 else found.flatten(2)

    return turned
