"""The labelled batch in training: exported rows are loaded by TRL's DPOTrainer, which takes a step on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation.audit import save_batch
from curation.batch import read_batch
from curation.exchange_formats.trl import preferences, write_trl
from curation.experiments.training import DIALOGUE, SmallModel, load_model, make_small_model
from curation.pipeline import load_pool, prepare, solve
from curation.pool.labels import Label
from curation.settings import DesignSettings, SpaceSettings
from tests.pools import demo_pool


def test_exported_rows_are_loaded_by_dpotrainer_which_takes_a_step(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    pool = load_pool(demo_pool()).pool
    features = demo_pool().with_name("demo.features.parquet")
    solved = solve(prepare(pool, features, space=SpaceSettings()), DesignSettings(budget=16), with_baselines=False)
    save_batch(solved, tmp_path / "batch")
    records = read_batch(tmp_path / "batch").records
    labels = [Label(r["pair_id"], "a" if n % 2 else "b", "ann", r["left"], 1, None) for n, r in enumerate(records)]
    path = write_trl(preferences(records, labels).rows, tmp_path / "trl.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == len(rows) == 16
    texts = [m["content"] for row in rows for m in (*row["prompt"], *row["chosen"])]
    make_small_model(
        texts, SmallModel(vocabulary=400, width=16, layers=1, heads=2, context=512), template=DIALOGUE, seed=0,
        out=tmp_path / "model",
    )  # fmt: skip
    model, tokenizer = load_model(tmp_path / "model", device="cpu", template=DIALOGUE)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = trl.DPOTrainer(
        model=model,
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=4, learning_rate=1e-3,
            max_length=512, report_to=[], save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True,
            logging_steps=1,
        ),
        train_dataset=loaded,
        processing_class=tokenizer,
    )  # fmt: skip
    done = trainer.train()
    assert done.global_step == 1
    assert trainer.state.log_history[0]["loss"] == pytest.approx(0.6931, abs=1e-3), "the policy starts at its reference"
    assert any((value != before[name]).any() for name, value in trainer.model.named_parameters())
