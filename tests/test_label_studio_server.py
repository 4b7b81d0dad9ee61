"""A real Label Studio, in an environment of its own: our files in, answers through its API, its export back here.

`make label-studio` installs it; without it this test is skipped by name.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.audit import save_batch
from curation.batch import read_batch
from curation.exchange_formats.common import decode_side
from curation.handback import export_trl, import_labels
from curation.handover import record_batch
from curation.pipeline import load_pool, prepare, solve
from curation.review.store import open_store
from curation.settings import DesignSettings, SpaceSettings
from curation.signing import KEY
from curation.signoff import export_signed, sign_batch
from tests.pools import ROOT, demo_pool
from tests.trl_step import train_one_step

pytestmark = pytest.mark.slow
PROGRAM = ROOT / ".venv-label-studio" / "bin" / "label-studio"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
QUIET = {
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "DJANGO_DB": "sqlite",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Label Studio with one user."""
    if not PROGRAM.exists():
        pytest.skip("Label Studio is not installed in .venv-label-studio; run `make label-studio`")
    folder = tmp_path_factory.mktemp("studio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [PROGRAM, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1", "--username", "a@b.co",
         "--password", "pass12345678", "--user-token", TOKEN],
        env={**os.environ, **QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(folder)}, cwd=folder, stdout=log,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                call(address, "GET", "/api/current-user/whoami")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def call(address: str, method: str, path: str, body: Any = None) -> Any:
    """One request to its API."""
    request = urllib.request.Request(
        address + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None
    return json.loads(text) if text else None


def test_a_signed_batch_goes_through_a_real_label_studio_and_comes_back_as_training_rows(
    studio: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    pool = load_pool(demo_pool()).pool
    prepared = prepare(pool, demo_pool().parent / "demo.features.parquet", space=SpaceSettings(), device="cpu")
    save_batch(solve(prepared, DesignSettings(budget=20), overlap=0.2), tmp_path / "batch")
    batch = read_batch(tmp_path / "batch")
    store = open_store(f"sqlite:///{tmp_path / 'review.db'}")
    record_batch(store, batch, who="ana")
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="bea")
    sign_batch(batch.path, who="cat", store=store)
    export_signed(batch.path, to="label-studio", out=tmp_path / "tasks.json", order="both", who="cat", store=store)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    rng = np.random.default_rng(0)
    winners = {r["pair_id"]: str(rng.choice(["a", "b", "tie"], p=[0.45, 0.45, 0.1])) for r in batch.records}
    records = {r["pair_id"]: r for r in batch.records}
    expected: Counter[str] = Counter()
    for kind, config in (("choices", "tasks.config.xml"), ("pairwise", "tasks.pairwise.config.xml")):
        project = call(
            studio, "POST", "/api/projects", {"title": kind, "label_config": (tmp_path / config).read_text()}
        )
        made = call(studio, "POST", f"/api/projects/{project['id']}/import", tasks)
        assert made["task_count"] == len(tasks)
        stored = call(studio, "GET", f"/api/tasks?project={project['id']}&page_size=500&fields=all")["tasks"]
        assert {json.dumps(t["data"], sort_keys=True) for t in stored} == {
            json.dumps(t["data"], sort_keys=True) for t in tasks
        }
        for n, task in enumerate(stored):
            data = task["data"]
            left = decode_side(data["left_id"], records[data["pair_id"]], batch.manifest["batch_seed"])
            truth = winners[data["pair_id"]]
            side = "tie" if truth == "tie" else "left" if truth == left else "right"
            if kind == "pairwise" and side == "tie":
                continue
            value = {"choices": [side]} if kind == "choices" else {"selected": side}
            to = "prompt" if kind == "choices" else "answer1"
            result = [{"from_name": "preference", "to_name": to, "type": kind, "value": value}]
            answer = {"result": result, "lead_time": 5.0 + n, "was_cancelled": n == 0}
            call(studio, "POST", f"/api/tasks/{task['id']}/annotations/", answer)
            expected[kind] += 1
        export = call(studio, "GET", f"/api/projects/{project['id']}/export?exportType=JSON")
        (tmp_path / f"{kind}.json").write_text(json.dumps(export))
    told = import_labels(batch.path, tmp_path / "choices.json", who="ana", store=store)
    assert told["format"] == "label-studio"
    assert told["answers"] == told["labels"] == expected["choices"] == len(tasks)
    assert (told["cancelled"], told["unknown"], told["duplicates"]) == (1, 0, 0)
    labels = store.labels(batch.batch_id)
    assert all(label.outcome in (winners[label.pair_id], "skip") for label in labels)
    assert told["quality"]["alpha"] == pytest.approx(1.0)  # every answer tells the same truth, whichever side it is on
    again = import_labels(batch.path, tmp_path / "pairwise.json", who="ana", store=store)
    assert again["labels"] == expected["pairwise"]
    assert again["replaced"] <= 1  # the one that was cancelled before
    assert again["new"] == 0
    made = export_trl(batch.path, tmp_path / "train.jsonl", store=store)
    assert made["rows"] == sum(winner != "tie" for winner in winners.values())
    for line in (tmp_path / "train.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"prompt", "chosen", "rejected"}
    loaded, _, moved = train_one_step(tmp_path / "train.jsonl", tmp_path / "trained")
    assert loaded == made["rows"]
    assert moved
    store.close()
