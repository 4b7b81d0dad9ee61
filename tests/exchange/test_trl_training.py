"""Labels of both annotation tools in training: imported, exported to TRL, loaded by DPOTrainer, which takes a step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.exchange.receive import import_labels
from curation.exchange.send import export_trl
from curation.review.store.store import Store
from tests.desk.graded import answered
from tests.desk.labels import exported, side, studio, winner, write
from tests.desk.trl_step import train_one_step


def test_soft_targets_beside_the_pair_leave_the_trainer_as_it_was(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    """The trainer reads prompt, chosen and rejected: a file without the other columns gives the same first step."""
    import_labels(made["batch"], answered(made, store, tmp_path, "studio pairwise"), who="ana", store=store)
    export_trl(made["batch"], tmp_path / "train.jsonl", store=store)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert {round(row["target"], 9) for row in rows} == {0.7, 0.95}
    keys = ("prompt", "chosen", "rejected")
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps({k: row[k] for k in keys}) + "\n" for row in rows))
    full, bare = (train_one_step(tmp_path / f"{name}.jsonl", tmp_path / name) for name in ("train", "bare"))
    assert full == pytest.approx(bare)
    assert full[0] == len(rows)
    assert full[2], "the step moves the weights"


@pytest.mark.parametrize("tool", ["label-studio", "argilla"])
def test_labels_of_a_tool_end_in_a_training_step(made: dict[str, Any], store: Store, tmp_path: Path, tool: str) -> None:
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
