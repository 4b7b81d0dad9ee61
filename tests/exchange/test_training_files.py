"""Training rows as files: where each row comes from, the ties beside them, and a card that says what both are."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from curation.batch.folder import read_batch
from curation.cli.app import main
from curation.cli.kinds import EXPORT
from curation.errors import ExportError, OutputError
from curation.exchange.receive import import_labels
from curation.exchange.send import export_trl
from curation.exchange.training_files import COLUMNS, dataset_card, write_training
from curation.exchange.trl import Preferences, preferences
from curation.pool.labels import Label
from curation.review.store.store import Store
from tests.desk.labels import exported, studio, winner, write


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def some() -> Preferences:
    records = [
        {"pair_id": n, "prompt": "q", "response_a": "x", "response_b": "y", "inclusion": 0.5, "weight": 0.1}
        for n in ("won", "tie", "split", "none")
    ]
    answers = [("won", "b", "u"), ("tie", "tie", "u"), ("split", "a", "u"), ("split", "b", "v")]
    told = [Label(pair, outcome, who, "a", 1, None) for pair, outcome, who in answers]  # type: ignore[arg-type]
    return preferences(records, told, batch_id="b1")


def test_ties_and_splits_stand_apart_with_a_target_of_one_half() -> None:
    found = some()
    assert [row["pair_id"] for row in found.rows] == ["won"]
    assert found.rows[0]["chosen"][0]["content"] == "y"
    assert [(row["pair_id"], row["target"], row["weight"]) for row in found.ties] == [
        ("tie", 0.5, 1.0), ("split", 0.5, 2.0)
    ]  # fmt: skip
    assert [(row["votes_chosen"], row["votes_rejected"], row["votes_tie"]) for row in found.ties] == [
        (0, 0, 1), (1, 1, 0)
    ]  # fmt: skip
    assert found.left_out == {"no label": 1, "tie": 1, "split": 1, "identical": 0}
    assert all(set(row) == set(COLUMNS) for row in (*found.rows, *found.ties))


def test_files_load_as_a_dataset_with_two_configurations(tmp_path: Path) -> None:
    import datasets  # type: ignore[import-untyped]

    _, beside, _ = write_training(some(), tmp_path / "train.jsonl", ties=True, about=["2 answers."], batch_id="b1")
    assert [path.name for path in beside] == ["train.ties.jsonl", "README.md"]
    for name, rows in (("default", 1), ("ties", 2)):
        loaded = datasets.load_dataset(str(tmp_path), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert (loaded.num_rows, set(loaded.column_names)) == (rows, set(COLUMNS))


def test_the_card_has_a_header_every_column_the_counts_and_no_names() -> None:
    card = dataset_card(some(), "train.jsonl", about=["4 answers of 2 annotators."], ties=True, batch_id="b1")
    _, header, body = card.split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["configs"] == [
        {"config_name": "default", "data_files": "train.jsonl"},
        {"config_name": "ties", "data_files": "train.ties.jsonl"},
    ]
    assert told["size_categories"] == ["n<1K"]
    assert all(f"| `{column}` |" in body for column in COLUMNS)
    for words in ("1 pairs of answers with a winner", "- 1 pairs without an answer", "- 4 answers of 2 annotators."):
        assert words in body
    assert "| `tools` |" not in body
    offered = Preferences([{**some().rows[0], "tools": [{"type": "function"}]}], {})
    assert "| `tools` |" in dataset_card(offered, "train.jsonl", about=[], ties=False, batch_id="b1")


@pytest.mark.parametrize(
    ("rows", "word"), [(999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**7, "n>10M")]
)
def test_sizes_are_the_hubs_words(rows: int, word: str) -> None:
    row: dict[str, Any] = {}
    card = dataset_card(Preferences([row] * rows, {}), "t.jsonl", about=[], ties=False, batch_id="b")
    assert f"size_categories: [{word}]" in card


def test_a_readme_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my project")
    for force in (False, True):
        with pytest.raises(ExportError, match=r"README\.md exists and is no dataset card"):
            write_training(some(), tmp_path / "t.jsonl", about=[], force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "README.md").unlink()
    write_training(some(), tmp_path / "t.jsonl", about=[])
    with pytest.raises(ExportError, match="already exists"):
        write_training(some(), tmp_path / "u.jsonl", about=[])
    assert not (tmp_path / "u.jsonl").exists()
    write_training(some(), tmp_path / "u.jsonl", about=["again"], force=True)
    assert "again" in (tmp_path / "README.md").read_text()
    with pytest.raises(ExportError, match="where the dataset card goes"):
        write_training(some(), tmp_path / "README.md", about=[], force=True)


def test_rows_of_earlier_versions_and_of_this_one_are_told_as_training_rows(tmp_path: Path) -> None:
    row = some().rows[0]
    old = {key: value for key, value in row.items() if key not in ("pair_id", "batch_id", "inclusion", "design_weight")}
    for name, content in (("new", row), ("old", old)):
        (tmp_path / name).write_text(json.dumps(content) + "\n")
        EXPORT.check(tmp_path / name, inputs=[], force=True)
    (tmp_path / "other").write_text(json.dumps({**row, "mine": 1}) + "\n")
    with pytest.raises(OutputError, match="never replaced"):
        EXPORT.check(tmp_path / "other", inputs=[], force=True)


def test_a_batchs_ties_and_card_are_written_and_counted(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    import_labels(made["batch"], write(tmp_path / "1.json", studio(made, tasks)), store=store)
    told = export_trl(made["batch"], tmp_path / "train.jsonl", ties=True, card=True, store=store)
    batch = read_batch(made["batch"])
    ties = {r["pair_id"] for r in batch.records if winner(batch, r["pair_id"]) == "tie"}
    assert [Path(path).name for path in told["also_written"]] == ["train.ties.jsonl", "README.md"]
    assert {row["pair_id"] for row in lines(tmp_path / "train.ties.jsonl")} == ties
    assert {row["batch_id"] for row in lines(tmp_path / "train.jsonl")} == {batch.batch_id}
    card = (tmp_path / "README.md").read_text()
    assert "eve@x" not in card
    assert f"{len(tasks)} answers" in card


def test_ties_and_card_are_of_training_rows_only(tmp_path: Path) -> None:
    for option in ("--ties", "--card", "--push=a/b"):
        asked = ["export", str(tmp_path), "--to", "csv", "--out", str(tmp_path / "x.csv"), "--unsigned", option]
        assert main(asked) != 0
    assert list(tmp_path.iterdir()) == []


# A hub --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub on this machine that keeps what it is sent: path -> bodies. `refuse` makes it answer 403."""
    import huggingface_hub.constants as constants
    from huggingface_hub import hf_api

    got: dict[str, list[bytes]] = {}
    state = {"refuse": False}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.setdefault(self.path, []).append(body)
            answer: dict[str, Any] = {"url": f"{address}/datasets/me/prefs"}
            if self.path.endswith("/preupload/main"):
                files = json.loads(body)["files"]
                answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            elif "/commit/" in self.path:
                answer = {"commitUrl": f"{address}/datasets/me/prefs/commit/c0ffee", "commitOid": "c0ffee"}
            data = json.dumps({"error": "no"} if state["refuse"] else answer).encode()
            self.send_response(403 if state["refuse"] else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for place in (constants, hf_api):
        if hasattr(place, "ENDPOINT"):
            monkeypatch.setattr(place, "ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield got, state, address
    server.shutdown()


def test_rows_ties_and_card_are_pushed_as_one_commit_of_a_private_repository(
    made: dict[str, Any], store: Store, tmp_path: Path, hub: Any
) -> None:  # fmt: skip
    got, _, address = hub
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    import_labels(made["batch"], write(tmp_path / "1.json", studio(made, tasks)), store=store)
    told = export_trl(made["batch"], tmp_path / "t.jsonl", ties=True, card=True, push_to="me/prefs", store=store)
    assert told["pushed"] == f"{address}/datasets/me/prefs/commit/c0ffee"
    (asked,) = got["/api/repos/create"]
    assert {"name": "prefs", "visibility": "private", "type": "dataset"}.items() <= json.loads(asked).items()
    (commit,) = got["/api/datasets/me/prefs/commit/main"]
    parts = [json.loads(line) for line in commit.splitlines()]
    files = {
        part["value"]["path"]: base64.b64decode(part["value"]["content"]) for part in parts if part["key"] == "file"
    }
    assert files == {name: (tmp_path / name).read_bytes() for name in ("t.jsonl", "t.ties.jsonl", "README.md")}


def test_a_hub_that_refuses_is_told_and_the_files_stay(
    made: dict[str, Any], store: Store, tmp_path: Path, hub: Any
) -> None:  # fmt: skip
    hub[1]["refuse"] = True
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    import_labels(made["batch"], write(tmp_path / "1.json", studio(made, tasks)), store=store)
    with pytest.raises(ExportError, match=r"me/prefs did not take the files \(.*403.*they are written"):
        export_trl(made["batch"], tmp_path / "t.jsonl", push_to="me/prefs", store=store)
    assert lines(tmp_path / "t.jsonl")
    with pytest.raises(ExportError, match="is not OWNER/NAME"):
        export_trl(made["batch"], tmp_path / "u.jsonl", push_to="../prefs", store=store)
    assert not (tmp_path / "u.jsonl").exists()
