"""Labels of both annotation tools in training: imported, exported to TRL, loaded by DPOTrainer, which takes a step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from curation.batch import read_batch
from curation.handback import export_trl, import_labels
from curation.review.store import Store
from tests.test_labels_back import exported, made, side, store, studio, winner, write  # noqa: F401
from tests.trl_step import train_one_step


@pytest.mark.parametrize("tool", ["label-studio", "argilla"])
def test_labels_of_a_tool_end_in_a_training_step(made: dict[str, Any], store: Store, tmp_path: Path, tool: str) -> None:  # noqa: F811
    batch = read_batch(made["batch"])
    sent = json.loads(exported(made, store, tmp_path, tool).read_text())
    if tool == "label-studio":
        answers = studio(made, sent)
    else:
        words = {"left": "a", "right": "b", "tie": "tie"}
        answers = [
            {**r, "responses": [{"values": {"preference": {"value": words[side(batch, r["metadata"])]}},
                                 "status": "submitted", "user_id": "u1"}]}
            for r in sent
        ]  # fmt: skip
    told = import_labels(made["batch"], write(tmp_path / "back.json", answers), who="ana", store=store)
    assert told["format"] == tool
    export_trl(made["batch"], tmp_path / "train.jsonl", store=store)
    loaded, loss, moved = train_one_step(tmp_path / "train.jsonl", tmp_path)
    assert loaded == sum(winner(batch, record["pair_id"]) != "tie" for record in batch.records)
    assert loss == pytest.approx(math.log(2), abs=1e-3), "the policy starts at its reference"
    assert moved
