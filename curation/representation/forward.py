"""One forward pass over padded sequences: pooled hidden states and summed log-probabilities of the responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.representation.layout import Tokens

Pooling = Literal["last", "mean"]
# bytes of logits normalised at a time: never a batch's whole; on a CPU so few that they stay in its cache
_LOGIT_CHUNK = {"cpu": 1 << 22, "cuda": 1 << 26}


@dataclass(frozen=True)
class Reader:
    """A model and how it is read. Every tensor stays on the model's device until `Fetch` brings it home."""

    model: Any
    device: str
    causal: bool
    layer: int
    pooling: Pooling
    pad: int
    keeps_logits: bool  # whether forward takes logits_to_keep
    takes_positions: bool  # whether forward takes position_ids

    def run(self, ids: Any, mask: Any, *, first_logit: Any = None, **options: Any) -> tuple[Any, Any, int]:
        """The model's output, logits (None for encoders) and the position of the first logit.

        ids: (B, T). mask: (B, T) or longer where a cache stands before the ids. first_logit: earliest position whose
        logits are wanted.
        """
        import torch

        start = 0
        if self.causal and self.keeps_logits and first_logit is not None:
            start = int(first_logit)
            options["logits_to_keep"] = torch.arange(start, ids.shape[1], device=self.device)
        if self.causal:
            options.setdefault("use_cache", False)
        out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True, return_dict=True, **options)
        return out, out.logits if self.causal else None, start

    def on_device(self, array: NDArray[np.int64]) -> Any:
        """An integer array as a tensor on the device; the copy to a GPU does not wait for its queue."""
        import torch

        tensor = torch.from_numpy(array)
        if self.device.startswith("cuda"):
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def pooled(self, hidden: Any, first: NDArray[np.int64], last: NDArray[np.int64]) -> Any:
        """Pooled states (B, p), float32. hidden: (B, T, p). first, last: (B,) the response's positions, last exclusive.

        An empty response is stood for by the token before it, whatever the pooling.
        """
        import torch

        rows = torch.arange(hidden.shape[0], device=hidden.device)
        if self.pooling == "last":
            return hidden[rows, self.on_device(last - 1)].float()
        begin = self.on_device(np.where(first < last, first, last - 1))[:, None]
        end = self.on_device(last)[:, None]
        place = torch.arange(hidden.shape[1], device=hidden.device)[None, :]
        share = ((place >= begin) & (place < end)).float() / (end - begin)
        return torch.bmm(share[:, None, :], hidden.float())[:, 0]

    def summed(self, logits: Any, offset: int, ids: Any, first: NDArray[np.int64], last: NDArray[np.int64]) -> Any:
        """Sum of log p over the tokens first <= t < last of every row, (B,) float64. logits: (B, T', V) from position
        `offset` on; the token at t is predicted at t - 1."""
        import torch

        out = torch.zeros(ids.shape[0], dtype=torch.float64, device=ids.device)
        counts = np.maximum(last - first, 0)
        if not counts.sum():
            return out
        owners = np.repeat(np.arange(len(counts)), counts)
        places = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        row, place = self.on_device(owners), self.on_device(places)
        chunk = _LOGIT_CHUNK["cuda" if self.device.startswith("cuda") else "cpu"]
        step = max(1, chunk // (4 * logits.shape[-1]))
        for begin in range(0, len(owners), step):
            r, t = row[begin : begin + step], place[begin : begin + step]
            scores = logits[r, t - 1 - offset].float()
            chosen = scores.gather(1, ids[r, t][:, None])[:, 0] - torch.logsumexp(scores, dim=1)
            out.index_add_(0, r, chosen.double())
        return out

    def read(self, rows: Sequence[Tokens]) -> tuple[Any, Any]:
        """Pooled states (B, p) and log-probabilities (B,), zero for encoders, of whole sequences.

        Padding stands on the right, so tokens have the positions they would have alone and causal attention never
        sees it; the mask hides it from encoders.
        """
        import torch

        sizes = np.array([len(row.ids) for row in rows])
        starts = np.array([row.start for row in rows])
        ids, mask = self.padded([row.ids for row in rows])
        # the logits before the first response are nobody's
        out, logits, offset = self.run(ids, mask, first_logit=max(int(starts.min()) - 1, 0))
        states = self.pooled(out.hidden_states[self.layer], starts, sizes)
        if logits is None:
            return states, torch.zeros(len(rows), dtype=torch.float64)
        return states, self.summed(logits, offset, ids, starts, sizes)

    def padded(self, sequences: Sequence[Sequence[int]], *, before: NDArray[np.int64] | None = None) -> tuple[Any, Any]:
        """Ids (B, T) padded on the right, and their mask (B, S + T). before: (B, S) mask of what a cache holds."""
        sizes = np.array([len(sequence) for sequence in sequences])
        ids = np.full((len(sizes), int(sizes.max())), self.pad, dtype=np.int64)
        mask = (np.arange(ids.shape[1])[None, :] < sizes[:, None]).astype(np.int64)
        for i, sequence in enumerate(sequences):
            ids[i, : sizes[i]] = sequence
        whole = mask if before is None else np.concatenate([before, mask], axis=1)
        return self.on_device(ids), self.on_device(whole)


class Fetch:
    """States and sums on their way to the CPU; a GPU goes on with the next batch meanwhile."""

    def __init__(self, states: Any, sums: Any) -> None:
        import torch

        self._event = None
        if states.is_cuda:
            self._parts = [torch.empty(part.shape, dtype=part.dtype, pin_memory=True) for part in (states, sums)]
            for target, part in zip(self._parts, (states, sums), strict=True):
                target.copy_(part, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._parts = [states, sums]

    def get(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The arrays, once they have arrived."""
        if self._event is not None:
            self._event.synchronize()
        return self._parts[0].numpy(), self._parts[1].numpy()
