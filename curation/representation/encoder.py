"""Hidden states and log-probabilities of responses under a transformers model."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.errors import RepresentationError
from curation.representation.forward import Fetch, Pooling, Reader
from curation.representation.layout import Layout, PromptLike, Tokens
from curation.representation.models import LoadedModel, load_model
from curation.representation.packing import packed
from curation.representation.prefix import Block, blocks, read_block, reusable, saves

Progress = Callable[[int, int, float], None]  # done responses, total responses, seconds so far
BatchTokens = int | Literal["auto"]
VERSION = 3  # changes with anything that changes the last digits of what is read; a run is resumed by the same only
_AUTO_TOKENS = {"cpu": 4096, "cuda": 32_768}
_FLOPS = {"cpu": 4e10, "cuda": 1e14}  # a second, roughly: one core, one card
_LOGIT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # `auto` keeps the logits of a batch within about this


@dataclass(frozen=True)
class Cuts:
    """What did not fit the model: responses whose prompt lost its beginning, responses that lost their end, and the
    tokens lost by each. Cuts add up."""

    prompts: int = 0
    responses: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0

    def __add__(self, other: Cuts) -> Cuts:
        return Cuts(
            self.prompts + other.prompts,
            self.responses + other.responses,
            self.prompt_tokens + other.prompt_tokens,
            self.response_tokens + other.response_tokens,
        )

    @property
    def truncated(self) -> int:
        """Responses that were not read whole with their whole prompt."""
        return self.prompts + self.responses


@dataclass(frozen=True)
class Encoded:
    """What a model says of N responses, in flat order (prompt by prompt)."""

    matrix: NDArray[np.float32]  # (N, p)
    reference_logprob: NDArray[np.float64] | None  # (N,) nats summed over response tokens; None for encoders
    n_tokens: NDArray[np.int32]  # (N,) response tokens read, end token included
    metadata: dict[str, str]
    cuts: Cuts
    notes: tuple[str, ...]

    @property
    def truncated(self) -> int:
        """Responses that were not read whole with their whole prompt."""
        return self.cuts.truncated


def encode(
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    *,
    model: str,
    layer: int = -1,
    pooling: Pooling = "mean",
    batch_tokens: BatchTokens = "auto",
    device: str = "auto",
    progress: Progress | None = None,
    max_length: int | None = None,
    reuse: bool = True,
) -> Encoded:
    """Encode the responses of every prompt with `model` (a hub name or folder).

    layer: index into the hidden states, -1 the last, 0 the embeddings. pooling: the hidden state of the last token
    (the end token), or the mean over the response's tokens. batch_tokens: tokens per batch, padding included.
    max_length: tokens per sequence, at most what the model allows. reuse: read a prompt that several candidates share
    once, where the model allows it and it saves enough. Raises RepresentationError when the model cannot be loaded or
    run.
    """
    encoder = Encoder(
        load_model(model, device=device),
        layer=layer,
        pooling=pooling,
        batch_tokens=batch_tokens,
        max_length=max_length,
        reuse=reuse,
    )
    return encoder.encode(prompts, responses, progress=progress)


class Encoder:
    """A loaded model with its settings; `encode` may be called for one part of a pool after another."""

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        layer: int = -1,
        pooling: Pooling = "mean",
        batch_tokens: BatchTokens = "auto",
        max_length: int | None = None,
        reuse: bool = True,
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
        takes = inspect.signature(loaded.model.forward).parameters
        pad = loaded.tokenizer.pad_token_id
        self._rows = _known_tokens(loaded.model)
        self.reader = Reader(
            model=loaded.model,
            device=loaded.device,
            causal=loaded.causal,
            layer=layer,
            pooling=pooling,
            pad=int(pad) if pad is not None and pad < self._rows else 0,  # padding is masked, so any id will do
            keeps_logits="logits_to_keep" in takes,
            takes_positions="position_ids" in takes,
        )
        self._reuse = reuse and reusable(self.reader)

    @property
    def width(self) -> int:
        """Numbers per response."""
        return int(self._loaded.model.config.get_text_config().hidden_size)

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
            **self._layout.metadata,
            "reading": str(VERSION),
            "max_length": str(self._limit) if self._limit is not None else "none",
            "shared_prompts": "read once where that saves enough" if self._reuse else "read with every response",
        }

    @property
    def tokens_a_minute(self) -> int:
        """About how many tokens a minute reads, from the model's size and the device's kind; the same every time."""
        kind = "cuda" if self._loaded.device.startswith("cuda") else "cpu"
        size = sum(int(part.numel()) for part in self._loaded.model.parameters())
        return max(1, int(60 * _FLOPS[kind] / (2 * max(size, 1))))

    def check(self, prompts: Sequence[PromptLike], names: Sequence[str]) -> None:
        """Raises RepresentationError that counts the prompts which cannot be written and names the first."""
        self._layout.check(prompts, names)

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
        groups = self._layout.groups(prompts, responses)
        rows = [row for group in groups for row in group]
        self._check_tokens(rows)
        matrix = np.zeros((len(rows), self.width), dtype=np.float32)
        logprob = np.zeros(len(rows))
        done, start = 0, time.perf_counter()
        waiting: list[tuple[list[int], Fetch]] = []

        def arrive() -> None:
            nonlocal done
            batch, fetch = waiting.pop(0)
            matrix[batch], logprob[batch] = fetch.get()
            done += len(batch)
            if progress is not None:
                progress(done, len(rows), time.perf_counter() - start)

        with torch.inference_mode():
            for batch, states, sums in self._batches(groups, rows):
                waiting.append((batch, Fetch(states, sums)))
                if len(waiting) > 1:  # a GPU works on the newest batch while the one before comes home
                    arrive()
            while waiting:
                arrive()
        bad = ~(np.isfinite(matrix).all(axis=1) & np.isfinite(logprob))
        if bad.any():
            raise RepresentationError(
                f"model {self._loaded.name} gives numbers that are not finite for {int(bad.sum())} responses (first: "
                f"response {int(np.argmax(bad)) + 1} of {len(rows)}); run it on the CPU in float32, or use another "
                "model."
            )
        cuts = Cuts(
            prompts=sum(row.cut == "prompt" for row in rows),
            responses=sum(row.cut == "response" for row in rows),
            prompt_tokens=sum(row.lost[0] for row in rows),
            response_tokens=sum(row.lost[1] for row in rows),
        )
        return Encoded(
            matrix=matrix,
            reference_logprob=logprob if self.causal else None,
            n_tokens=np.array([len(row.ids) - row.start for row in rows], dtype=np.int32),
            metadata=self.metadata,
            cuts=cuts,
            notes=self.notes(cuts, len(rows)),
        )

    def notes(self, cuts: Cuts, total: int) -> tuple[str, ...]:
        """What people should know: truncation, counted, and missing log-probabilities."""
        out = list(self._loaded.notes)
        if not self._loaded.causal and not any("no log-probabilities" in note for note in out):
            out.insert(0, f"model {self._loaded.name} is an encoder: no log-probabilities.")
        if cuts.prompts:
            out.append(
                f"{cuts.prompts:,} of {total:,} responses were read with a prompt that lost its beginning: more than "
                f"{self._limit} tokens together."
            )
        if cuts.responses:
            out.append(
                f"{cuts.responses:,} of {total:,} responses lost their end: more than {self._limit} tokens alone."
            )
        if cuts.truncated:
            out.append(
                f"Cut off: {cuts.prompt_tokens:,} tokens at the beginning of prompts, {cuts.response_tokens:,} at the "
                "end of responses."
            )
        return tuple(out)

    def _check_tokens(self, rows: Sequence[Tokens]) -> None:
        """Refuse tokens that the model has no embedding of; on a GPU they would end the process."""
        for row in rows:
            worst = max(row.ids)
            if worst >= self._rows:
                word = self._loaded.tokenizer.convert_ids_to_tokens(worst)
                raise RepresentationError(
                    f"the tokenizer of model {self._loaded.name} writes token {worst} ({word}), but the model knows "
                    f"{self._rows:,} tokens; use the tokenizer it was trained with, or a checkpoint whose embeddings "
                    "were resized to this one (model.resize_token_embeddings)."
                )

    def whole_batches(self, prompts: Sequence[PromptLike], responses: Sequence[Sequence[str]]) -> list[list[Tokens]]:
        """The batches of this encoder where nothing is reused, as tokens."""
        rows = [row for group in self._layout.groups(prompts, responses) for row in group]
        return [[rows[i] for i in batch] for batch in packed([len(row.ids) for row in rows], self._budget)]

    def _batches(
        self, groups: Sequence[Sequence[Tokens]], rows: Sequence[Tokens]
    ) -> Iterator[tuple[list[int], Any, Any]]:
        """(flat row numbers, states, sums) batch by batch: shared prompts first, then every other row by length."""
        firsts = np.concatenate([[0], np.cumsum([len(group) for group in groups])])
        shared = [g for g, group in enumerate(groups) if self._reuse and saves(group)]
        for block in blocks([groups[g] for g in shared], [int(firsts[g]) for g in shared], self._budget):
            yield from self._block(block, rows)
        left = sorted({*range(len(rows))} - {int(firsts[g]) + k for g in shared for k in range(len(groups[g]))})
        for batch in packed([len(rows[i].ids) for i in left], self._budget):
            yield from self._run([left[i] for i in batch], rows)

    def _block(self, block: Block, rows: Sequence[Tokens]) -> Iterator[tuple[list[int], Any, Any]]:
        """A block of shared prompts; what is left of it when the memory runs out is read whole, row by row length."""
        import torch

        done: set[int] = set()
        try:
            for batch, states, sums in read_block(self.reader, block, rows, self._budget):
                done.update(batch)
                yield batch, states, sums
            return
        except torch.cuda.OutOfMemoryError:
            pass
        torch.cuda.empty_cache()
        left = [row for row in block.rows if row not in done]
        for part in packed([len(rows[i].ids) for i in left], self._budget):
            yield from self._run([left[i] for i in part], rows)

    def _auto_tokens(self) -> int:
        kind = "cuda" if self._loaded.device.startswith("cuda") else "cpu"
        budget = _AUTO_TOKENS[kind]
        if not self._loaded.causal:
            return budget
        vocabulary = int(self._loaded.model.config.get_text_config().vocab_size)
        return max(256, min(budget, _LOGIT_BYTES[kind] // (4 * vocabulary)))

    def _run(self, batch: list[int], rows: Sequence[Tokens]) -> Iterator[tuple[list[int], Any, Any]]:
        """One batch; when the GPU has too little memory, half of it at a time."""
        import torch

        try:
            states, sums = self.reader.read([rows[i] for i in batch])
        except torch.cuda.OutOfMemoryError as error:
            if len(batch) == 1:
                raise RepresentationError(
                    f"a sequence of {len(rows[batch[0]].ids)} tokens does not fit the GPU's memory; set a smaller "
                    "maximum length, or use --device cpu."
                ) from error
        else:
            yield batch, states, sums
            return
        torch.cuda.empty_cache()
        half = len(batch) // 2
        yield from self._run(batch[:half], rows)
        yield from self._run(batch[half:], rows)


def _known_tokens(model: Any) -> int:
    """Rows of the embedding: token numbers at or above have none."""
    try:
        return int(model.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError):  # a model with embeddings of its own making
        return int(model.config.get_text_config().vocab_size)
