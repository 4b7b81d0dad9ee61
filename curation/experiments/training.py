"""Real training with TRL: SFTTrainer for the reference, DPOTrainer for policies; models by hub name or made small."""

from __future__ import annotations

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import CurationError
from curation.experiments.stages import Stages
from curation.representation.models import quiet, refuse_adapter
from curation.representation.reference import FitSettings, fit_tokenizer

KEPT_EVERY = 60.0  # seconds between two checkpoints of a training
PLAIN = "{% for m in messages %}{{ m['content'] }}{% endfor %}"  # prompt and continuation as one text


@contextmanager
def hushed() -> Iterator[None]:
    """Without the warnings of transformers, trl and peft of what will change in their next versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


class PolicyError(CurationError):
    """A policy experiment cannot be run as asked."""


@dataclass(frozen=True)
class Training:
    """One training run. optimizer: a name of transformers' `optim`. batch: texts or pairs a step.

    rank: of low-rank adapters (LoRA, by peft, scale 2) on every linear layer, 0 trains all weights. autocast: products
    in bfloat16; weights, sums and steps stay float32.
    """

    epochs: float
    learning_rate: float
    batch: int
    optimizer: str = "adamw_torch"
    max_tokens: int = 512
    max_steps: int = -1
    rank: int = 0
    autocast: bool = False


@dataclass(frozen=True)
class SmallModel:
    """A GPT-2 made here, for experiments that download nothing."""

    vocabulary: int = 2000
    layers: int = 2
    width: int = 96
    heads: int = 4
    context: int = 256


def make_small_model(texts: Sequence[str], size: SmallModel, *, template: str, seed: int, out: Path) -> None:
    """A byte-level BPE tokenizer fitted on texts and an untrained GPT-2, saved into `out`."""
    import torch
    import transformers

    settings = FitSettings(vocabulary=size.vocabulary, context=size.context)
    tokenizer = fit_tokenizer(list(texts), settings)
    tokenizer.chat_template = template
    end = tokenizer.eos_token_id
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=size.context, n_embd=size.width, n_layer=size.layers,
        n_head=size.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=end, eos_token_id=end,
        pad_token_id=end,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.GPT2LMHeadModel(config)
    quiet()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def load_model(name: str | Path, *, device: str, template: str) -> tuple[Any, Any]:
    """A causal model and its tokenizer, ready to generate. Raises PolicyError where they cannot be had.

    The weights are float32 whatever the checkpoint's type: steps as small as those of DPO vanish in half precision, or
    overflow. A tokenizer that begins texts with a token of its own has it in the template, too.
    """
    import torch
    import transformers

    quiet()
    refuse_adapter(name, Path(name))
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(name))
        model = transformers.AutoModelForCausalLM.from_pretrained(str(name), dtype=torch.float32).to(device).eval()
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"model {name} cannot be loaded ({str(error).splitlines()[0]}); check the name and the network, or use "
            "--scale small, which downloads nothing."
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    begins = tokenizer.bos_token_id is not None and tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + template
    return model, tokenizer


def run_sft(
    base: str | Path,
    texts: Sequence[str],
    settings: Training,
    *,
    template: str,
    seed: int,
    device: str,
    out: Path,
    kept: Path | None = None,
) -> None:
    """Fine-tune `base` on texts with TRL's SFTTrainer; the model, its tokenizer and log.json go into `out`.

    kept: where the training notes now and then how far it is; found there, it goes on from that step.
    """
    from datasets import Dataset  # type: ignore[import-untyped]
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    model, tokenizer = load_model(base, device=device, template=template)
    with tempfile.TemporaryDirectory() as scratch, hushed():
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**_common(settings, str(kept or scratch), seed, device)),
            train_dataset=Dataset.from_dict({"text": list(texts)}),
            processing_class=tokenizer,
            peft_config=_adapters(settings),
        )
        _train(trainer, kept)
    trained = _finish(trainer, settings, out)
    trained.save_pretrained(out)
    tokenizer.save_pretrained(out)


def sft_stage(
    stages: Stages,
    depends: Any,
    texts: Sequence[str],
    settings: Training,
    *,
    model: str,
    small: SmallModel | None,
    template: str,
    seed: int,
    device: str,
) -> Path:
    """The folder of the fine-tuned reference: of a hub model by name, or of a small one made on the spot."""

    def make(folder: Path) -> None:
        start: str | Path = model
        if small is not None:
            start = folder / "start"
            make_small_model(texts, small, template=template, seed=seed, out=start)
        run_sft(start, texts, settings, template=template, seed=seed, device=device, out=folder, kept=kept)

    kept = stages.unfinished("sft", depends)
    return stages.run("sft", depends, make)


def run_dpo(
    reference: str | Path,
    rows: Sequence[dict[str, str]],
    settings: Training,
    *,
    beta: float,
    template: str,
    seed: int,
    device: str,
    out: Path,
    kept: Path | None = None,
) -> tuple[Any, Any]:
    """DPO from `reference` with TRL's DPOTrainer. rows: prompt, chosen, rejected as plain text. kept: as `run_sft`.

    Returns the trained model and its tokenizer; the log goes into `out`, the weights are the caller's to keep.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    if not rows:
        raise PolicyError("no pair was labelled with a winner, so there is nothing to train on.")
    model, tokenizer = load_model(reference, device=device, template=template)
    with tempfile.TemporaryDirectory() as scratch, hushed():
        trainer = DPOTrainer(
            model=model,
            args=DPOConfig(beta=beta, **_common(settings, str(kept or scratch), seed, device)),
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=tokenizer,
            peft_config=_adapters(settings),
        )
        _train(trainer, kept)
    return _finish(trainer, settings, out).eval(), tokenizer


def _adapters(settings: Training) -> Any:
    """The adapters that are trained, None where the weights themselves are."""
    if not settings.rank:
        return None
    import peft

    return peft.LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear")


def _train(trainer: Any, kept: Path | None) -> None:
    """Train without a word on the terminal; the losses are in the log. kept: checkpoints of this very training."""
    from transformers.trainer_callback import PrinterCallback, TrainerCallback
    from transformers.trainer_utils import get_last_checkpoint

    class KeepNow(TrainerCallback):  # type: ignore[misc]
        """A checkpoint whenever `KEPT_EVERY` has passed since the last."""

        last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            """Ask for one."""
            if time.monotonic() - self.last > KEPT_EVERY and state.global_step < state.max_steps:
                control.should_save, self.last = True, time.monotonic()
            return control

    trainer.remove_callback(PrinterCallback)
    found = None
    if kept is not None:
        trainer.add_callback(KeepNow())
        found = get_last_checkpoint(str(kept)) if kept.is_dir() else None
    trainer.train(resume_from_checkpoint=found)


def _common(settings: Training, scratch: str, seed: int, device: str) -> dict[str, Any]:
    quiet()
    for name in ("datasets", "trl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets

    datasets.disable_progress_bars()
    return {
        "output_dir": scratch,
        "per_device_train_batch_size": settings.batch,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps,
        "learning_rate": settings.learning_rate,
        "optim": settings.optimizer,
        "max_length": settings.max_tokens,
        "seed": seed,
        "data_seed": seed,
        "report_to": [],
        "save_strategy": "no",  # but when KeepNow asks
        "save_total_limit": 1,
        "logging_steps": 5,
        "disable_tqdm": True,
        "use_cpu": device == "cpu",
        "bf16": settings.autocast,
        "activation_checkpointing": False,
    }


def _finish(trainer: Any, settings: Training, out: Path) -> Any:
    """The trained model, adapters merged into its weights; its losses go into `out`."""
    losses = [{"step": row["step"], "loss": row["loss"]} for row in trainer.state.log_history if "loss" in row]
    (out / "log.json").write_text(json.dumps(losses))
    return trainer.model.merge_and_unload() if settings.rank else trainer.model
