"""A real Label Studio, in an environment of its own: our files in, answers through its API, its export back here.

`make label-studio` installs it; without it this test is skipped by name.
"""

from __future__ import annotations

import json
import os
import signal
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

from curation.batch.answers import GRADED
from curation.batch.folder import read_batch
from curation.batch.presentation import decode_side
from curation.batch.records import save_batch
from curation.exchange.assignment import parse_annotators
from curation.exchange.receive import import_labels
from curation.exchange.send import export_signed, export_trl
from curation.pool.labels import graded_outcome
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import sign_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.graded import BAD, parts, seen, truth
from tests.desk.pools import ROOT, demo_pool
from tests.desk.trl_step import train_one_step
from tests.desk.waiting import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]  # its first start makes a database: minutes on a busy machine
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
    port = free_port()
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [PROGRAM, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1", "--username", "a@b.co",
         "--password", "pass12345678", "--user-token", TOKEN],
        env={**os.environ, **QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(folder)}, cwd=folder, stdout=log,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            try:
                call(address, "GET", "/api/current-user/whoami")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(1)
        else:
            raise AssertionError(f"no answer in fifteen minutes: {(folder / 'log').read_text()[-2000:]}")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def call(address: str, method: str, path: str, body: Any = None) -> Any:
    """What one request to its API answers."""
    text = fetch(address, path, method, body)
    return json.loads(text) if text else None


def fetch(address: str, path: str, method: str = "GET", body: Any = None) -> bytes:
    """The bytes of an answer."""
    request = urllib.request.Request(
        address + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None


def signed_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A signed batch of twenty labels on the demo pool, and its store."""
    monkeypatch.setenv(KEY, str(folder / "key.pem"))
    monkeypatch.setenv("CURATION_HOME", str(folder / "home"))
    pool = load_pool(demo_pool()).pool
    prepared = prepare(pool, demo_pool().parent / "demo.features.parquet", space=SpaceSettings(), device="cpu")
    save_batch(solve(prepared, DesignSettings(budget=20), overlap=0.2), folder / "batch")
    batch = read_batch(folder / "batch")
    store = open_store(f"sqlite:///{folder / 'review.db'}")
    record_batch(store, batch, who="ana")
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="bea")
    sign_batch(batch.path, who="cat", acknowledged=["cut_off", "foregone"], store=store)
    return batch, store


def test_a_signed_batch_goes_through_a_real_label_studio_and_comes_back_as_training_rows(
    studio: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, store = signed_batch(tmp_path, monkeypatch)
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
        assert {"prompt", "chosen", "rejected", "target"} <= set(json.loads(line))
    loaded, _, moved = train_one_step(tmp_path / "train.jsonl", tmp_path / "trained")
    assert loaded == made["rows"]
    assert moved
    store.close()


def test_a_real_label_studio_takes_the_graded_configurations_and_gives_strength_back(
    studio: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both configurations, in each of its exports that holds answers, of everything shown both ways round."""
    batch, store = signed_batch(tmp_path, monkeypatch)
    export_signed(
        batch.path,
        to="label-studio",
        out=tmp_path / "tasks.json",
        order="both",
        answers="graded",
        who="cat",
        store=store,
    )
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert {seen(batch, task["data"]) for task in tasks} == set(GRADED)
    for kind, config in (("choices", "tasks.config.xml"), ("pairwise", "tasks.pairwise.config.xml")):
        project = call(
            studio,
            "POST",
            "/api/projects",
            {"title": f"graded {kind}", "label_config": (tmp_path / config).read_text()},
        )
        known = project["parsed_label_config"]
        asked = "preference" if kind == "choices" else "strength"
        aliases = [entry.get("alias") for entry in known[asked]["labels_attrs"].values()]
        assert aliases == (list(GRADED) if kind == "choices" else ["much", "slightly", "tie", "both_bad"])
        made = call(studio, "POST", f"/api/projects/{project['id']}/import", tasks)
        assert made["task_count"] == len(tasks)
        stored = call(studio, "GET", f"/api/tasks?project={project['id']}&page_size=500&fields=all")["tasks"]
        for n, task in enumerate(stored):
            answer = seen(batch, task["data"])
            chosen, step = parts(answer)
            value = {"choices": [answer if kind == "choices" else step]}
            result = [{"from_name": asked, "to_name": "prompt", "type": "choices", "value": value}]
            if kind == "pairwise" and chosen:
                side = {
                    "from_name": "preference",
                    "to_name": "answer1",
                    "type": "pairwise",
                    "value": {"selected": chosen},
                }
                result.append(side)
            call(studio, "POST", f"/api/tasks/{task['id']}/annotations/", {"result": result, "lead_time": 5.0 + n})
        for name in ("JSON", "JSON_MIN", "CSV"):
            file = tmp_path / f"{kind}.{name}.{'csv' if name == 'CSV' else 'json'}"
            file.write_bytes(fetch(studio, f"/api/projects/{project['id']}/export?exportType={name}"))
            told = import_labels(batch.path, file, who="ana", store=store)
            counts = (told["labels"], told["graded"], told["unclear"], told["without_strength"], told["unknown"])
            assert counts == (len(tasks), len(tasks), 0, 0, 0), (kind, name)
            for label in store.labels(batch.batch_id):
                value = truth(label.pair_id)
                assert (graded_outcome(label), label.both_bad) == ((0, True) if value == BAD else (value, False))
            assert told["quality"]["seconds"] is not None, (kind, name)
    assert told["quality"]["alpha"] == pytest.approx(1.0)
    store.close()


def test_three_people_share_a_fifth_of_the_pairs_and_nobody_sees_one_twice(
    studio: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody answers what her tab shows; agreement between them is what evalica says of the same answers."""
    import evalica
    import pandas as pd

    batch, store = signed_batch(tmp_path, monkeypatch)
    names = ("ana", "ben", "cem")
    export_signed(
        batch.path, to="label-studio", out=tmp_path / "tasks.json", annotators=parse_annotators(",".join(names)),
        who="cat", store=store,
    )  # fmt: skip
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    project = call(
        studio, "POST", "/api/projects", {"title": "three", "label_config": (tmp_path / "tasks.config.xml").read_text()}
    )
    call(studio, "POST", f"/api/projects/{project['id']}/import", tasks)
    people = {
        name: call(studio, "POST", "/api/users/", {"email": f"{name}@x.org", "username": name})["id"] for name in names
    }
    records = {r["pair_id"]: r for r in batch.records}
    rng = np.random.default_rng(1)
    said: dict[str, dict[str, float]] = {name: {} for name in names}
    for view in json.loads((tmp_path / "tasks.tabs.json").read_text()):
        name = view["data"]["title"]
        tab = call(studio, "POST", "/api/dm/views/", {**view, "project": project["id"]})
        shown = call(studio, "GET", f"/api/tasks?view={tab['id']}&project={project['id']}&page_size=500&fields=all")
        for task in shown["tasks"]:
            data = task["data"]
            assert data["assigned_to"] == name
            assert data["pair_id"] not in said[name], "nobody sees a pair twice"
            left = decode_side(data["left_id"], records[data["pair_id"]], batch.manifest["batch_seed"])
            choice = str(rng.choice(["left", "right"]))
            said[name][data["pair_id"]] = float((choice == "left") == (left == "a"))
            value = {"choices": [choice]}
            result = [{"from_name": "preference", "to_name": "prompt", "type": "choices", "value": value}]
            answer = {"result": result, "lead_time": 5.0, "completed_by": people[name]}
            call(studio, "POST", f"/api/tasks/{task['id']}/annotations/", answer)
    export = call(studio, "GET", f"/api/projects/{project['id']}/export?exportType=JSON")
    (tmp_path / "back.json").write_text(json.dumps(export))
    told = import_labels(batch.path, tmp_path / "back.json", who="ana", store=store)
    store.close()
    assert told["labels"] == sum(map(len, said.values())) == len(tasks) == 20
    shares = [len(pairs) for pairs in said.values()]
    assert max(shares) - min(shares) <= 1
    doubled = {r["pair_id"] for r in batch.records if r["copies"] == 2}
    assert doubled
    quality = told["quality"]
    assert (quality["annotators"], quality["between"]["pairs"], quality["within"]) == (3, len(doubled), None)
    given = pd.DataFrame([[said[name].get(pair, np.nan) for pair in sorted(records)] for name in names])
    expected = evalica.alpha(given)
    if expected.expected:
        assert quality["between"]["alpha"] == pytest.approx(expected.alpha)
    assert len(told["conflicts"]) == sum(
        len({pairs[pair] for pairs in said.values() if pair in pairs}) == 2 for pair in doubled
    )
