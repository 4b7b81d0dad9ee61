"""Candidates of a prompt share its tokens: read the prompt once, keep its keys and values, read only the answers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.representation.forward import Reader
from curation.representation.layout import Tokens
from curation.representation.packing import packed

log = logging.getLogger(__name__)
MIN_PROMPT = 16  # tokens below which a prompt is not worth a call of its own
MIN_SAVED = 0.2  # share of a prompt's tokens that must be saved
HELD = 2  # times the batch's tokens that prompt and answers together may hold in keys and values
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}  # of the largest state and nat, on a probe


@dataclass(frozen=True)
class Block:
    """Prompts whose tokens are read once. prompts: their tokens. rows: flat row numbers. owner: (rows,) index into
    prompts."""

    prompts: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    owner: tuple[int, ...]


def saves(group: Sequence[Tokens]) -> bool:
    """Whether reading the prompt of one group of candidates once saves enough."""
    start = group[0].start
    if len(group) < 2 or start < MIN_PROMPT:
        return False
    head = group[0].ids[:start]
    if any(row.start != start or row.cut or len(row.ids) <= start or row.ids[:start] != head for row in group):
        return False
    return start * (len(group) - 1) >= MIN_SAVED * sum(len(row.ids) for row in group)


def blocks(groups: Sequence[Sequence[Tokens]], first_rows: Sequence[int], budget: int) -> list[Block]:
    """Groups of candidates packed so that their padded prompts stay within `budget` tokens, longest prompts first.

    first_rows: flat row number of each group's first candidate.
    """
    out = []
    for members in packed([group[0].start for group in groups], budget):
        pairs = [(first_rows[g] + k, n) for n, g in enumerate(members) for k in range(len(groups[g]))]
        prompts = tuple(tuple(groups[g][0].ids[: groups[g][0].start]) for g in members)
        out.append(Block(prompts, tuple(row for row, _ in pairs), tuple(n for _, n in pairs)))
    return out


def read_block(
    reader: Reader, block: Block, rows: Sequence[Tokens], budget: int
) -> Iterator[tuple[list[int], Any, Any]]:
    """(flat row numbers, states (B, p), log-probabilities (B,)) of a block's candidates, batch by batch.

    rows: all rows of the run, by flat number. Prompts are padded on the right; answers stand after the padding, which
    the mask hides, at the positions they have without it.
    """
    import torch

    starts = np.array([len(prompt) for prompt in block.prompts])
    ids, mask = reader.padded(block.prompts)
    out, logits, offset = reader.run(ids, mask, first_logit=int(starts.min()) - 1, use_cache=True)
    groups = torch.arange(len(starts), device=ids.device)
    opening = torch.log_softmax(logits[groups, reader.on_device(starts - 1 - offset)].float(), dim=1)
    cache, width = out.past_key_values, int(starts.max())
    del out, logits
    tails = [rows[row].ids[rows[row].start :] for row in block.rows]
    held = np.arange(width)[None, :] < starts[:, None]
    for part in packed([len(tail) for tail in tails], budget, before=width, held=HELD * budget):
        owner = np.array([block.owner[i] for i in part])
        answers = [tails[i] for i in part]
        sizes = np.array([len(answer) for answer in answers])
        ids, mask = reader.padded(answers, before=held[owner].astype(np.int64))
        options: dict[str, Any] = {}
        if reader.takes_positions:
            place = np.minimum(np.arange(ids.shape[1])[None, :], sizes[:, None] - 1)  # padding stays within the model
            options["position_ids"] = reader.on_device(starts[owner][:, None] + place)
        index = reader.on_device(owner)
        out, logits, offset = reader.run(
            ids, mask, first_logit=0, past_key_values=_chosen(cache, index), use_cache=True, **options
        )
        zeros = np.zeros(len(part), dtype=np.int64)
        states = reader.pooled(out.hidden_states[reader.layer], zeros, sizes)
        sums = opening[index, ids[:, 0]].double() + reader.summed(logits, offset, ids, zeros + 1, sizes)
        yield [block.rows[i] for i in part], states, sums


def _chosen(cache: Any, index: Any) -> Any:
    """The cache with rows `index`; the given one is left as it is (its layers grow by concatenation)."""
    out = copy.copy(cache)
    out.layers = [copy.copy(layer) for layer in cache.layers]
    out.batch_select_indices(index)
    return out


def reusable(reader: Reader) -> bool:
    """Whether the model keeps plain keys and values, and reading a prompt once gives what reading it anew gives.

    Sliding windows, recurrent states and models without a cache read every candidate whole. The equality is tried on
    two made-up prompts of unequal length, so the answer depends on the model and the device alone.
    """
    import torch
    from transformers.cache_utils import DynamicLayer

    if not reader.causal:
        return False
    vocabulary = int(reader.model.config.get_text_config().vocab_size)
    draw = np.random.default_rng(0).integers(0, vocabulary, size=64).tolist()
    rows = [
        Tokens(draw[:24] + draw[40:47], 24, ""),
        Tokens(draw[:24] + draw[50:62], 24, ""),
        Tokens(draw[5:14] + draw[30:39], 9, ""),
        Tokens(draw[5:14] + draw[60:64], 9, ""),
    ]
    with torch.inference_mode():
        try:
            cache = reader.model(
                input_ids=reader.on_device(np.array([draw[:4]])), use_cache=True, return_dict=True
            ).past_key_values
            if cache is None or any(type(layer) is not DynamicLayer for layer in cache.layers):
                return False
            block = Block((tuple(draw[:24]), tuple(draw[5:14])), (0, 1, 2, 3), (0, 0, 1, 1))
            whole, sums = reader.read(rows)
            for part, states, told in read_block(reader, block, rows, 4096):
                limit = TOLERANCE.get(str(reader.model.dtype).removeprefix("torch."), 0.0)
                far = float((states - whole[part]).abs().max() / whole.abs().max())
                off = float((told - sums[part]).abs().max() / sums.abs().max())
                log.info(
                    "reading prompts once: states differ by %.1e, log-probabilities by %.1e of the largest", far, off
                )
                if not max(far, off) <= limit:
                    return False
        except (AttributeError, TypeError, ValueError, IndexError, RuntimeError) as error:
            log.info("prompts are read with every candidate: %s", error)
            return False
    return True
