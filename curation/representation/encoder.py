"""Hidden states and log-probabilities of responses under a transformers model."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.errors import RepresentationError
from curation.representation.layout import Layout, PromptLike, Tokens
from curation.representation.models import LoadedModel, load_model

Progress = Callable[[int, int, float], None]  # done responses, total responses, seconds so far
Pooling = Literal["last", "mean"]
BatchTokens = int | Literal["auto"]
_AUTO_TOKENS = {"cpu": 4096, "cuda": 32_768}
_LOGIT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # `auto` keeps the logits of a batch within about this


@dataclass(frozen=True)
class Encoded:
    """What a model says of N responses, in flat order (prompt by prompt)."""

    matrix: NDArray[np.float32]  # (N, p)
    reference_logprob: NDArray[np.float64] | None  # (N,) nats summed over response tokens; None for encoders
    n_tokens: NDArray[np.int32]  # (N,) response tokens read, end token included
    metadata: dict[str, str]
    prompts_cut: int  # responses whose prompt lost its beginning
    responses_cut: int  # responses that lost their end
    notes: tuple[str, ...]

    @property
    def truncated(self) -> int:
        """Responses that were not read whole with their whole prompt."""
        return self.prompts_cut + self.responses_cut


def encode(
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    *,
    model: str,
    layer: int = -1,
    pooling: Pooling = "last",
    batch_tokens: BatchTokens = "auto",
    device: str = "auto",
    progress: Progress | None = None,
    max_length: int | None = None,
) -> Encoded:
    """Encode the responses of every prompt with `model` (a hub name or folder).

    layer: index into the hidden states, -1 the last, 0 the embeddings. pooling: the hidden state of the last token
    (the end token), or the mean over the response's tokens. batch_tokens: tokens per batch, padding included.
    max_length: tokens per sequence, at most what the model allows. Raises RepresentationError when the model cannot
    be loaded or run.
    """
    loaded = load_model(model, device=device)
    return Encoder(loaded, layer=layer, pooling=pooling, batch_tokens=batch_tokens, max_length=max_length).encode(
        prompts, responses, progress=progress
    )


class Encoder:
    """A loaded model with its settings; `encode` may be called for one part of a pool after another."""

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        layer: int = -1,
        pooling: Pooling = "last",
        batch_tokens: BatchTokens = "auto",
        max_length: int | None = None,
    ) -> None:
        if pooling not in ("last", "mean"):
            raise RepresentationError(f"--pooling {pooling!r} is unknown; use last or mean.")
        if batch_tokens != "auto" and batch_tokens < 1:
            raise RepresentationError(f"--batch-tokens {batch_tokens} is below 1; give a positive number or auto.")
        if max_length is not None and max_length < 2:
            raise RepresentationError(f"a maximum length of {max_length} tokens leaves no room; give 2 or more.")
        layers = int(loaded.model.config.get_text_config().num_hidden_layers)
        if not -layers - 1 <= layer <= layers:
            raise RepresentationError(
                f"--layer {layer} does not exist: {loaded.name} has 0 to {layers}, or -1 for the last."
            )
        limits = [limit for limit in (loaded.max_tokens, max_length) if limit is not None]
        self._loaded = loaded
        self._layer = layer
        self._pooling = pooling
        self._limit = min(limits) if limits else None
        self._layout = Layout(loaded.tokenizer, max_tokens=self._limit)
        self._budget = self._auto_tokens() if batch_tokens == "auto" else int(batch_tokens)
        pad = loaded.tokenizer.pad_token_id
        self._pad = int(pad if pad is not None else 0)  # padding is masked, so any id will do
        self._keep_logits = "logits_to_keep" in inspect.signature(loaded.model.forward).parameters

    @property
    def causal(self) -> bool:
        """Whether log-probabilities can be had."""
        return self._loaded.causal

    @property
    def metadata(self) -> dict[str, str]:
        """How the features are made, as the features file records it."""
        return {
            "model": self._loaded.name,
            "revision": self._loaded.revision,
            "dtype": str(self._loaded.model.dtype).removeprefix("torch."),
            "layer": str(self._layer),
            "pooling": self._pooling,
            "template": self._layout.description,
            "max_length": str(self._limit) if self._limit is not None else "none",
        }

    def encode(
        self,
        prompts: Sequence[PromptLike],
        responses: Sequence[Sequence[str]],
        *,
        progress: Progress | None = None,
    ) -> Encoded:
        """Encode the responses of every prompt, longest batches first; the result is in flat order."""
        import torch

        if len(prompts) != len(responses):
            raise RepresentationError(f"{len(prompts)} prompts but {len(responses)} lists of responses; give one each.")
        rows = self._tokenize(prompts, responses)
        n_rows = len(rows)
        width = int(self._loaded.model.config.get_text_config().hidden_size)
        matrix = np.zeros((n_rows, width), dtype=np.float32)
        logprob = np.zeros(n_rows)
        done, start = 0, time.perf_counter()
        with torch.inference_mode():
            for batch in _batches([len(row.ids) for row in rows], self._budget):
                states, sums = self._run([rows[i] for i in batch])
                matrix[batch] = states
                logprob[batch] = sums
                done += len(batch)
                if progress is not None:
                    progress(done, n_rows, time.perf_counter() - start)
        bad = ~(np.isfinite(matrix).all(axis=1) & np.isfinite(logprob))
        if bad.any():
            raise RepresentationError(
                f"model {self._loaded.name} gives numbers that are not finite for {int(bad.sum())} responses (first: "
                f"response {int(np.argmax(bad)) + 1} of {n_rows}); run it on the CPU in float32, or use another model."
            )
        prompts_cut = sum(row.cut == "prompt" for row in rows)
        responses_cut = sum(row.cut == "response" for row in rows)
        return Encoded(
            matrix=matrix,
            reference_logprob=logprob if self.causal else None,
            n_tokens=np.array([len(row.ids) - row.start for row in rows], dtype=np.int32),
            metadata=self.metadata,
            prompts_cut=prompts_cut,
            responses_cut=responses_cut,
            notes=self.notes(prompts_cut, responses_cut, n_rows),
        )

    def notes(self, prompts_cut: int, responses_cut: int, total: int) -> tuple[str, ...]:
        """What people should know: truncation, counted, and missing log-probabilities."""
        out = list(self._loaded.notes)
        if not self._loaded.causal and not out:
            out.append(f"model {self._loaded.name} is an encoder: no log-probabilities.")
        if prompts_cut:
            out.append(
                f"{prompts_cut:,} of {total:,} responses were read with a prompt that lost its beginning: more than "
                f"{self._limit} tokens together."
            )
        if responses_cut:
            out.append(
                f"{responses_cut:,} of {total:,} responses lost their end: more than {self._limit} tokens alone."
            )
        return tuple(out)

    def _tokenize(self, prompts: Sequence[PromptLike], responses: Sequence[Sequence[str]]) -> list[Tokens]:
        rows = []
        for prompt, texts in zip(prompts, responses, strict=True):
            head = self._layout.prompt_ids(prompt)
            rows += [self._layout.join(head, self._layout.response_ids(text)) for text in texts]
        return rows

    def _auto_tokens(self) -> int:
        kind = "cuda" if self._loaded.device.startswith("cuda") else "cpu"
        budget = _AUTO_TOKENS[kind]
        if not self._loaded.causal:
            return budget
        vocabulary = int(self._loaded.model.config.get_text_config().vocab_size)
        return max(256, min(budget, _LOGIT_BYTES[kind] // (4 * vocabulary)))

    def _run(self, rows: list[Tokens]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """One batch; when the GPU has too little memory, half of it at a time."""
        import torch

        try:
            return self._forward(rows)
        except torch.cuda.OutOfMemoryError as error:
            if len(rows) == 1:
                raise RepresentationError(
                    f"a sequence of {len(rows[0].ids)} tokens does not fit the GPU's memory; set a smaller maximum "
                    "length, or use --device cpu."
                ) from error
        torch.cuda.empty_cache()
        half = len(rows) // 2
        parts = [self._run(rows[:half]), self._run(rows[half:])]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _forward(self, rows: list[Tokens]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Pooled states (B, p) and summed log-probabilities (B,), zero for encoders.

        Padding stands on the right, so tokens have the positions they would have alone and causal attention never
        sees it; the mask hides it from encoders.
        """
        import torch

        device = self._loaded.device
        sizes = [len(row.ids) for row in rows]
        longest = max(sizes)
        ids = torch.full((len(rows), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : sizes[i]] = torch.tensor(row.ids, dtype=torch.long)
            mask[i, : sizes[i]] = 1
        ids, mask = ids.to(device), mask.to(device)
        options: dict[str, Any] = {"output_hidden_states": True, "return_dict": True}
        first = min(row.start for row in rows) - 1  # the logits before this position are nobody's
        if self._loaded.causal:
            options["use_cache"] = False
            if self._keep_logits:
                options["logits_to_keep"] = torch.arange(first, longest, device=device)
            else:
                first = 0
        out = self._loaded.model(input_ids=ids, attention_mask=mask, **options)
        hidden = out.hidden_states[self._layer]
        states = np.empty((len(rows), hidden.shape[-1]), dtype=np.float32)
        sums = np.zeros(len(rows))
        for i, row in enumerate(rows):
            span = (
                slice(row.start, sizes[i])
                if self._pooling == "mean" and row.start < sizes[i]
                else slice(sizes[i] - 1, sizes[i])
            )
            states[i] = hidden[i, span].float().mean(dim=0).cpu().numpy()
            if self._loaded.causal and row.start < sizes[i]:
                logits = out.logits[i, row.start - 1 - first : sizes[i] - 1 - first].float()
                wanted = ids[i, row.start : sizes[i]]
                chosen = logits.gather(1, wanted[:, None])[:, 0] - torch.logsumexp(logits, dim=1)
                sums[i] = float(chosen.double().sum())
        return states, sums


def _batches(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Rows sorted by length, longest first, cut into batches whose padded size stays within the budget."""
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    out: list[list[int]] = []
    for i in order:
        if out and (len(out[-1]) + 1) * sizes[out[-1][0]] <= budget:
            out[-1].append(i)
        else:
            out.append([i])
    return out
