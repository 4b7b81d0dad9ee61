"""A causal model cut in two: the lower layers read every answer once, the upper ones are trained on what they gave.

Adapters on the upper layers are then cheap: no pass through the lower ones is ever repeated, for any rule, budget or
seed. The cut is proved on made-up tokens before anything is read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.experiments.training import PolicyError
from curation.representation.layout import Layout, PromptLike, Tokens
from curation.representation.models import ModelDtype, load_model
from curation.representation.packing import packed

Array = NDArray[np.float64]
BATCH = 4096  # tokens of one pass
ROWS = 64  # tokens whose scores over the vocabulary are normalised at a time: they stay in the processor's cache
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2}  # of the largest state, on made-up tokens


@dataclass(frozen=True)
class Read:
    """Every answer as the lower layers left it.

    states: (T, h), all sequences end to end, before the first upper layer. tokens: (T,). offsets: (N + 1,) where each
    sequence begins. start: (N,) its first answer token, from its own beginning. last, mean: (N, h) states of the last
    layer at the last token and on average over the answer. logprob: (N,) nats under the model as it is.
    """

    states: Any
    tokens: NDArray[np.int64]
    offsets: NDArray[np.int64]
    start: NDArray[np.int64]
    last: NDArray[np.float32]
    mean: NDArray[np.float32]
    logprob: Array

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each sequence, prompt included."""
        return np.diff(self.offsets)


def tokens_of(
    layout: Layout, prompts: Sequence[PromptLike], answers: Sequence[Sequence[str]], most: int
) -> list[Tokens]:
    """Every answer after its prompt, its first `most` tokens; one that is cut has no end token."""
    rows = [row for group in layout.groups(prompts, answers) for row in group]
    return [Tokens(row.ids[: row.start + most], row.start, row.cut) for row in rows]


class Halves:
    """A model in two. layers: how many of the last are the upper part."""

    def __init__(self, name: str, *, layers: int, device: str = "cpu", dtype: ModelDtype = "float32") -> None:
        """Raises PolicyError where the model has no log-probabilities, fewer layers, or cannot be cut."""
        loaded = load_model(name, device=device, dtype=dtype)
        if not loaded.causal:
            raise PolicyError(f"model {name} is an encoder and cannot be trained by preferences; give a causal model.")
        self.name, self.revision, self.device = name, loaded.revision, loaded.device
        self.model, self.tokenizer = loaded.model.requires_grad_(False), loaded.tokenizer
        self.whole = self.model.get_decoder()
        self.head = self.model.get_output_embeddings()
        count = int(self.model.config.get_text_config().num_hidden_layers)
        if not 1 <= layers < count:
            raise PolicyError(
                f"--layers {layers} cannot be trained: {name} has {count}, of which 1 to {count - 1} may."
            )
        self.lower, self.layers = count - layers, layers
        self.upper = self._cut()
        self._prove()

    def _cut(self) -> Any:
        whole = self.whole
        if not hasattr(whole, "layers"):
            raise PolicyError(self._refusal("its layers are not a plain list"))
        layers = whole.layers
        whole.layers = layers[self.lower :]
        try:
            upper = copy.deepcopy(whole)
        finally:
            whole.layers = layers
        upper.config.num_hidden_layers = self.layers
        if getattr(upper.config, "layer_types", None):
            upper.config.layer_types = upper.config.layer_types[self.lower :]
        return upper

    def _refusal(self, why: str) -> str:
        return (
            f"model {self.name} cannot be read in two halves ({why}); use one built like Llama, Qwen, Mistral or "
            "SmolLM, or `experiment imdb --model`, which trains the whole of it."
        )

    def _prove(self) -> None:
        """The upper part on kept states must give what the whole model gives."""
        import torch

        draw = np.random.default_rng(0).integers(0, int(self.head.weight.shape[0]), size=(2, 24))
        ids = torch.as_tensor(draw, device=self.device)
        try:
            with torch.inference_mode():
                out = self.model(input_ids=ids, output_hidden_states=True, use_cache=False)
                again = self.upper(inputs_embeds=out.hidden_states[self.lower], use_cache=False).last_hidden_state
                states = float((again - out.hidden_states[-1]).abs().max() / out.hidden_states[-1].abs().max())
                scores = float((self.head(again) - out.logits).abs().max() / out.logits.abs().max())
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise PolicyError(self._refusal(str(error).splitlines()[0])) from error
        if not max(states, scores) <= TOLERANCE[str(self.model.dtype).removeprefix("torch.")]:
            raise PolicyError(self._refusal(f"its upper layers alone differ by {max(states, scores):.0e}"))

    def read(
        self, rows: Sequence[Tokens], folder: Path, *, told: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        """Read every sequence once; what `Read` holds goes into `folder`. told: tokens done, tokens in all."""
        import torch

        lengths = [len(row.ids) for row in rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        width = int(self.head.weight.shape[1])
        half = self.model.dtype == torch.bfloat16
        kept = np.lib.format.open_memmap(
            folder / "states.npy", mode="w+", dtype=np.int16 if half else np.float32, shape=(int(offsets[-1]), width)
        )
        last, mean = np.zeros((len(rows), width), np.float32), np.zeros((len(rows), width), np.float32)
        logprob, done = np.zeros(len(rows)), 0
        with torch.inference_mode():
            for batch in packed(lengths, BATCH):
                ids, mask = _padded([rows[i].ids for i in batch], self.device)
                out = self.whole(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
                before, final = out.hidden_states[self.lower], out.last_hidden_state
                for k, i in enumerate(batch):
                    size, start = lengths[i], rows[i].start
                    piece = before[k, :size].cpu()
                    kept[offsets[i] : offsets[i + 1]] = (
                        piece.view(torch.int16).numpy() if half else piece.float().numpy()
                    )
                    said = final[k, min(start, size - 1) : size].float()
                    last[i], mean[i] = said[-1].cpu().numpy(), said.mean(0).cpu().numpy()
                logprob[batch] = self.summed(final, [rows[i] for i in batch]).double().cpu().numpy()
                done += sum(lengths[i] for i in batch)
                told(done, int(offsets[-1]))
        kept.flush()
        np.savez(
            folder / "read.npz", tokens=np.concatenate([row.ids for row in rows]).astype(np.int64), offsets=offsets,
            start=np.array([row.start for row in rows]), last=last, mean=mean, logprob=logprob,
        )  # fmt: skip

    def log_probabilities(self, upper: Any, read: Read, batch: Sequence[int]) -> Any:
        """Summed log-probability, nats, of the answers `batch` under an upper part, (B,) with its gradient."""
        import torch

        rows = [
            Tokens(read.tokens[read.offsets[i] : read.offsets[i + 1]].tolist(), int(read.start[i]), "") for i in batch
        ]
        states = torch.zeros(
            len(rows), max(len(row.ids) for row in rows), int(self.head.weight.shape[1]), dtype=self.model.dtype
        )
        for k, i in enumerate(batch):
            piece = torch.from_numpy(np.array(read.states[read.offsets[i] : read.offsets[i + 1]]))
            states[k, : len(piece)] = piece.view(torch.bfloat16) if piece.dtype == torch.int16 else piece
        _, mask = _padded([row.ids for row in rows], self.device)
        out = upper(inputs_embeds=states.to(self.device), attention_mask=mask, use_cache=False).last_hidden_state
        return self.summed(out, rows)

    def summed(self, states: Any, rows: Sequence[Tokens]) -> Any:
        """Log-probability of every row's answer, (B,) float32, from the last layer's states (B, T, h)."""
        import torch

        counts = [max(len(row.ids) - row.start, 0) for row in rows]
        owner = torch.as_tensor(np.repeat(np.arange(len(rows)), counts), device=states.device)
        place = torch.as_tensor(
            np.concatenate([np.arange(row.start, len(row.ids)) for row in rows]).astype(np.int64), device=states.device
        )
        said = torch.as_tensor(
            np.array([t for row in rows for t in row.ids[row.start :]], dtype=np.int64), device=states.device
        )
        before = states[owner, place - 1]
        parts = []
        for begin in range(0, len(said), ROWS):
            span = slice(begin, begin + ROWS)
            parts.append(
                -torch.nn.functional.cross_entropy(self.head(before[span]).float(), said[span], reduction="none")
            )
        return torch.zeros(len(rows), device=states.device).index_add(0, owner, torch.cat(parts))


def load_read(folder: Path) -> Read:
    """What `Halves.read` left; the states stay on the disk."""
    with np.load(folder / "read.npz") as kept:
        return Read(states=np.load(folder / "states.npy", mmap_mode="r"), **{name: kept[name] for name in kept.files})


def _padded(sequences: Sequence[Sequence[int]], device: str) -> tuple[Any, Any]:
    """Ids and mask (B, T), padded on the right."""
    import torch

    width = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for k, sequence in enumerate(sequences):
        ids[k, : len(sequence)] = torch.tensor(sequence)
        mask[k, : len(sequence)] = 1
    return ids.to(device), mask.to(device)
