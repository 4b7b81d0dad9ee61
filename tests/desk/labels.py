"""A batch sent out and answered: labels on their way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import read_batch
from curation.batch.presentation import decode_side
from curation.exchange.send import export_batch
from curation.representation.features_file import write_features
from curation.review.register import record_batch
from curation.review.store.store import Store, open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings

SPACE = SpaceSettings(dim=6)


BUDGET = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A pool of twenty prompts with features, a batch of twelve labels (two of them repeats), all approved."""
    from curation.batch.records import save_batch

    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    pool_file = folder / "pool.jsonl"
    with pool_file.open("w") as handle:
        for x in range(20):
            texts = [f"=answer {x}.{k} <b>" + "word " * int(rng.integers(1, 30)) for k in range(4)]
            handle.write(
                json.dumps({"prompt_id": f"p{x}", "prompt": f"q {x}", "responses": [{"text": t} for t in texts]}) + "\n"
            )
    pool = load_pool(pool_file).pool
    features = write_features(folder / "f.parquet", pool.ids(), rng.standard_normal((80, 8)), metadata={"model": "m1"})
    prepared = prepare(pool, features, space=SPACE, device="cpu")
    solved = solve(prepared, DesignSettings(budget=BUDGET), overlap=0.2)
    save_batch(solved, folder / "batch")
    return {"pool": pool, "pool_file": pool_file, "features": features, "batch": folder / "batch", "solved": solved}


@pytest.fixture
def store(made: dict[str, Any], tmp_path: Path) -> Any:
    opened = open_store(f"sqlite:///{tmp_path / 'review.db'}")
    batch = read_batch(made["batch"])
    record_batch(opened, batch, who="ana")
    opened.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    yield opened
    opened.close()


def exported(made: dict[str, Any], store: Store, folder: Path, to: str, order: str = "random") -> Path:
    out = folder / f"tasks.{'json' if to in ('label-studio', 'argilla') else to}"
    export_batch(made["batch"], to=to, out=out, order=order, store=store)  # type: ignore[arg-type]
    return out


def winner(batch: Any, pair_id: str) -> str:
    """The truth of these tests: the response whose id sorts first wins, every fifth pair is a tie."""
    record = next(r for r in batch.records if r["pair_id"] == pair_id)
    if int(pair_id, 16) % 5 == 0:
        return "tie"
    return "a" if record["response_a_id"] < record["response_b_id"] else "b"


def side(batch: Any, data: dict[str, Any]) -> str:
    """left, right or tie: what an annotator who knows the truth clicks on."""
    truth = winner(batch, data["pair_id"])
    record = next(r for r in batch.records if r["pair_id"] == data["pair_id"])
    left = decode_side(data["left_id"], record, batch.manifest["batch_seed"])
    return truth if truth == "tie" else "left" if truth == left else "right"


def studio(
    made: dict[str, Any], tasks: list[dict[str, Any]], *, kind: str = "choices", who: str = "eve@x"
) -> list[dict[str, Any]]:
    """A Label Studio project's JSON export with one answer a task."""
    batch = read_batch(made["batch"])
    out = []
    for n, task in enumerate(tasks):
        choice = side(batch, task["data"])
        value = {"choices": [choice]} if kind == "choices" else {"selected": choice}
        result = [{"type": kind, "from_name": "preference", "to_name": "prompt", "value": value}]
        annotation = {
            "id": n,
            "completed_by": {"id": 7, "email": who},
            "result": result,
            "was_cancelled": False,
            "lead_time": 10 + n,
        }
        out.append({"id": n, "data": task["data"], "meta": task["meta"], "annotations": [annotation]})
    return out


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
