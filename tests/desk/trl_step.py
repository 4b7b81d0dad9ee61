"""One training step of TRL's DPOTrainer on exported rows, with a tiny model made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import datasets  # type: ignore[import-untyped]
import trl

from curation.experiments.training import SmallModel, load_model, make_small_model

DIALOGUE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def train_one_step(path: Path, scratch: Path) -> tuple[int, float, bool]:
    """Rows loaded, loss of the first step, whether any weight moved."""
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(scratch / "cache"))
    texts = [
        message["content"]
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        for message in (*row["prompt"], *row["chosen"], *row["rejected"])
    ]
    size = SmallModel(vocabulary=300, width=16, layers=1, heads=2, context=512)
    make_small_model(texts, size, template=DIALOGUE, seed=0, out=scratch / "model")
    model, tokenizer = load_model(scratch / "model", device="cpu", template=DIALOGUE)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = trl.DPOTrainer(
        model=model,
        args=trl.DPOConfig(
            output_dir=str(scratch / "out"), max_steps=1, per_device_train_batch_size=4, learning_rate=1e-3,
            max_length=512, report_to=[], save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True,
            logging_steps=1,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    moved = any(bool((value != before[name]).any()) for name, value in trainer.model.named_parameters())
    return len(rows), float(trainer.state.log_history[0]["loss"]), moved
