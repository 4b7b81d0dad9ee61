"""A small reference policy fitted on the pool's own text, for pools without a model at hand (`--model fit`)."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import RepresentationError
from curation.representation.encoder import Progress
from curation.representation.layout import Layout, PromptLike, Tokens, plain_prompt, plain_response
from curation.representation.models import quiet

log = logging.getLogger(__name__)
END = "<|endoftext|>"
RECORD = "reference_fit.json"
_EVALUATIONS = 8  # held-out checks in a run; the best weights are kept
_HELDOUT_TOKENS = 12_000  # a check reads at most about this many tokens


@dataclass(frozen=True)
class ReferenceFit:
    """A fitted reference policy: where it is and how well it predicts answers to prompts it has not seen."""

    folder: str
    seed: int
    steps: int  # gradient steps taken
    best_step: int  # the step whose weights were kept
    tokens_seen: int
    vocabulary: int
    parameters: int
    initial_loss: float  # nats per response token of held-out prompts, before training
    heldout_loss: float  # the same, with the weights kept
    heldout_prompts: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FitSettings:
    """Size and length of the fit. The number of steps is fixed, not the time, so that a seed repeats the weights."""

    steps: int = 600
    batch_tokens: int = 1024
    vocabulary: int = 2000
    layers: int = 4
    width: int = 128
    heads: int = 4
    context: int = 1024  # tokens; at 512, one answer in seven of a real pool lost its end
    learning_rate: float = 1.5e-3
    dropout: float = 0.1
    heldout: float = 0.1  # share of the prompts

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RepresentationError(f"{self.steps} steps are too few to fit a reference; give 1 or more.")


def fit_reference(
    prompts: Sequence[PromptLike],
    responses: Sequence[Sequence[str]],
    *,
    out: Path,
    seed: int = 0,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> ReferenceFit:
    """Fit a byte-level BPE tokenizer and a small GPT-2 on the pool, on the CPU, and save both into `out`.

    About a minute on two cores with the default settings, whatever the size of the pool. A tenth of the prompts is
    held out, both from the tokenizer and from training; the weights with the lowest held-out loss are kept. The same
    seed, pool and number of threads give the same weights bit for bit. progress: steps done, steps in all, seconds.
    Raises RepresentationError when the pool has fewer than two prompts or no text.
    """
    import torch

    chosen = settings or FitSettings()
    if len(prompts) != len(responses):
        raise RepresentationError(f"{len(prompts)} prompts but {len(responses)} lists of responses; give one each.")
    if len(prompts) < 2:
        raise RepresentationError("a reference needs at least 2 prompts to fit, one of them held out; use a model.")
    if not any(text for texts in responses for text in texts):
        raise RepresentationError("every response is empty, so no reference can be fitted; check the pool.")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(prompts))
    n_held = min(max(1, round(chosen.heldout * len(prompts))), len(prompts) - 1)
    held, kept = sorted(order[:n_held].tolist()), sorted(order[n_held:].tolist())
    tokenizer = fit_tokenizer(
        [plain_prompt(prompts[x]) for x in kept] + [plain_response(text) for x in kept for text in responses[x]],
        chosen,
    )
    layout = Layout(tokenizer, max_tokens=chosen.context)
    train = [row for x in kept for row in _rows(layout, prompts[x], responses[x])]
    check = _round_robin([_rows(layout, prompts[x], responses[x]) for x in held], _HELDOUT_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _new_model(tokenizer, chosen)
        fitted = _train(model, train, check, chosen, rng, progress)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    quiet()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    notes = []
    if fitted["heldout_loss"] >= fitted["initial_loss"]:
        notes.append("the fitted reference predicts held-out answers no better than before training: do not trust it.")
    result = ReferenceFit(
        folder=str(folder),
        seed=seed,
        vocabulary=len(tokenizer),
        parameters=sum(p.numel() for p in model.parameters()),
        heldout_prompts=n_held,
        notes=tuple(notes),
        **fitted,
    )
    (folder / RECORD).write_text(json.dumps(asdict(result), indent=1))  # last: its presence says that the fit is whole
    return result


def load_fit(folder: Path) -> ReferenceFit | None:
    """The record of a finished fit in `folder`, or None."""
    try:
        stored = json.loads((Path(folder) / RECORD).read_text())
        return ReferenceFit(**{**stored, "folder": str(folder), "notes": tuple(stored["notes"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def fit_tokenizer(texts: list[str], settings: FitSettings) -> Any:
    """A byte-level BPE tokenizer fitted on texts, with one end token that also pads."""
    import tokenizers
    import transformers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),  # every byte: no text is unknown
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=settings.context
    )


def _new_model(tokenizer: Any, settings: FitSettings) -> Any:
    import transformers

    end = tokenizer.eos_token_id
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=settings.context,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        resid_pdrop=settings.dropout,
        embd_pdrop=settings.dropout,
        attn_pdrop=0.0,  # would cost the fast attention kernel
        activation_function="gelu_pytorch_tanh",  # GPT-2's gelu_new in one kernel
        bos_token_id=end,
        eos_token_id=end,
    )
    return transformers.GPT2LMHeadModel(config)


def _rows(layout: Layout, prompt: PromptLike, texts: Sequence[str]) -> list[Tokens]:
    head = layout.prompt_ids(prompt)
    return [layout.join(head, layout.response_ids(text)) for text in texts]


def _round_robin(groups: list[list[Tokens]], budget: int) -> list[Tokens]:
    """One response of each prompt after another, until the budget of tokens is spent; at least one."""
    out: list[Tokens] = []
    spent = 0
    for turn in range(max(len(group) for group in groups)):
        for group in groups:
            if turn < len(group) and (not out or spent + len(group[turn].ids) <= budget):
                out.append(group[turn])
                spent += len(group[turn].ids)
    return out


def _train(
    model: Any,
    train: list[Tokens],
    check: list[Tokens],
    settings: FitSettings,
    rng: np.random.Generator,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train in place and put back the best weights. Returns the losses and counts of a ReferenceFit."""
    import torch

    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))
    warmup = max(1, settings.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.1 + 0.45 * (1 + math.cos(math.pi * step / settings.steps))),
    )
    initial = best = _response_loss(model, check, settings.batch_tokens)
    best_step, best_weights, tokens_seen = 0, _copy(model), 0
    every = max(1, settings.steps // _EVALUATIONS)
    start = time.perf_counter()
    batches = _epochs(train, settings.batch_tokens, rng)
    for step in range(1, settings.steps + 1):
        ids, mask = _padded(next(batches))
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = _nats(model, ids)[mask[:, 1:]].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tokens_seen += int(mask.sum())
        if step % every == 0 or step == settings.steps:
            now = _response_loss(model, check, settings.batch_tokens)
            log.info("reference step %d of %d: held-out %.3f nats per token", step, settings.steps, now)
            if now < best:
                best, best_step, best_weights = now, step, _copy(model)
        if progress is not None:
            progress(step, settings.steps, time.perf_counter() - start)
    model.load_state_dict(best_weights)
    model.eval()
    return {
        "steps": settings.steps,
        "best_step": best_step,
        "tokens_seen": tokens_seen,
        "initial_loss": initial,
        "heldout_loss": best,
    }


def _nats(model: Any, ids: Any) -> Any:
    """Loss of every token but the first, (B, T-1). Right padding under causal attention needs no mask."""
    import torch

    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return losses.view(ids.shape[0], -1)


def _response_loss(model: Any, rows: list[Tokens], batch_tokens: int) -> float:
    """Nats per response token."""
    import torch

    model.eval()
    total = 0.0
    count = 0
    with torch.inference_mode():
        for batch in _packed(sorted(rows, key=lambda row: len(row.ids)), batch_tokens):
            ids, mask = _padded(batch)
            for i, row in enumerate(batch):
                mask[i, : row.start] = False
            losses = _nats(model, ids)[mask[:, 1:]]
            total += float(losses.double().sum())
            count += int(losses.numel())
    return total / count


def _epochs(rows: list[Tokens], batch_tokens: int, rng: np.random.Generator) -> Iterator[list[Tokens]]:
    """Batches without end: each epoch in a new order, similar lengths together to save padding."""
    while True:
        order: NDArray[np.int64] = rng.permutation(len(rows))
        batches: list[list[Tokens]] = []
        for begin in range(0, len(rows), 256):
            part = sorted((rows[i] for i in order[begin : begin + 256]), key=lambda row: len(row.ids))
            batches += list(_packed(part, batch_tokens))
        for index in rng.permutation(len(batches)):
            yield batches[index]


def _packed(rows: list[Tokens], batch_tokens: int) -> Iterator[list[Tokens]]:
    """Rows of rising length, cut into batches whose padded size stays within the budget."""
    batch: list[Tokens] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row.ids) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _padded(rows: list[Tokens]) -> tuple[Any, Any]:
    import torch

    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = True
    return ids, mask


def _copy(model: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
