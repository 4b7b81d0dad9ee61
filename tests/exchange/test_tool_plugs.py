"""An annotation tool is added by one file: offered, written to, kept from loss and read back, with nothing else touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch
from curation.exchange.tools.base import TOOLS, Content, label_formats
from curation.review.store.store import Store
from tests.desk.golden_runs import call, decided, workspace, write_features, write_pool
from tests.desk.plugs import added, answer, command
from tests.desk.sign_off_page import approved_sign_off

FORUM = '''
from curation.exchange.cells import Cell
from curation.exchange.tools.base import Tool, begins, write_json_list

SIDES = {"first": "left", "second": "right", "neither": "tie"}


class Forum(Tool):
    """Posts with two answers below them; the reply says which is better."""

    name, rank, title, suffix = "forum", 35, "Our forum", "posts"
    beside = ((".rules.txt", begins("Rules of")),)

    def side_files(self, header, guidelines):
        return {".rules.txt": f"Rules of {header.batch_id}: reply first, second or neither."}

    def write(self, path, rows, header):
        write_json_list(
            path,
            (
                {
                    "post": [row.prompt, row.left, row.right],
                    "about": [header.batch_id, row.pair_id, row.copy, row.left_id, row.right_id],
                    "for": row.annotator,
                    "reply": "",
                }
                for row in rows
            ),
        )

    def unanswered(self, found):
        return found.arrangement == "list" and all("post" in item and not item["reply"] for item in found.items)

    def recognises(self, item):
        return "post" in item

    def cells(self, item, place, told):
        if not item["reply"]:
            told["posts without a reply"] += 1
            return
        ids = dict(zip(("batch_id", "pair_id", "copy", "left_id", "right_id"), item["about"], strict=True))
        yield Cell(place, ids, SIDES.get(item["reply"], item["reply"]), None, item["for"] or "eve")


PLUG = Forum()
'''


@pytest.fixture
def plugs(tmp_path: Path) -> Path:
    folder = tmp_path / "plugs"
    folder.mkdir()
    (folder / "forum.py").write_text(FORUM)
    return folder


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Path]:
    """A batch of twelve labels in a workspace of its own, every pair approved."""
    with workspace(tmp_path / "w") as place:
        pool, features = write_pool(place), write_features(place)
        call("solve", pool, "--features", features, "--budget", 12, "--out", place / "batch")
        decided(place / "batch", place / "d.csv")
        yield place / "batch"


def replied(path: Path, out: Path, said: str = "first") -> Path:
    posts = json.loads(path.read_text())
    out.write_text(json.dumps([{**post, "reply": said if n else ""} for n, post in enumerate(posts)]))
    return out


@pytest.mark.slow
def test_the_command_line_offers_writes_replaces_and_reads_it(plugs: Path, batch: Path) -> None:
    assert "label-studio|argilla|csv|forum|parquet|jsonl|trl" in command(TOOLS, plugs, "export", "--help")
    assert "auto|label-studio|argilla|csv|forum|jsonl" in command(TOOLS, plugs, "import-labels", "--help")
    out = batch.parent / "out.posts"
    words = ["export", batch, "--to", "forum", "--out", out, "--unsigned"]
    made = answer(TOOLS, plugs, *words)
    assert (made["rows"], made["also_written"]) == (12, [str(out.with_suffix(".rules.txt"))])
    assert answer(TOOLS, plugs, *words, "--force")["sha256"] == made["sha256"]
    back = replied(out, batch.parent / "back.json")
    told = answer(TOOLS, plugs, "import-labels", batch, back)
    assert (told["format"], told["labels"], told["told"]) == ("forum", 11, {"posts without a reply": 1})
    assert answer(TOOLS, plugs, "import-labels", batch, back, "--from", "forum")["same"] == 11
    before = replied(out, out).read_bytes()
    assert "is never replaced" in command(TOOLS, plugs, *words, "--force", status=1)
    assert out.read_bytes() == before


def test_people_are_given_its_rows_as_every_tools(
    plugs: Path, made: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    from curation.exchange.assignment import parse_annotators

    people = parse_annotators("ana,ben,cem")
    with added(TOOLS, plugs):
        out = tmp_path / "out.posts"
        told = export_batch(made["batch"], to="forum", out=out, annotators=people, store=store)
        assert sum(told["annotators"].values()) == told["rows"]
        assert {Path(path).name for path in told["also_written"]} == {
            "out.rules.txt", "out.assignments.csv", "out.for-ana.posts", "out.for-ben.posts", "out.for-cem.posts",
        }  # fmt: skip
        labels = import_labels(made["batch"], replied(out, tmp_path / "back.json", "neither"), store=store)
        assert (labels["format"], labels["ties"]) == ("forum", told["rows"] - 1)
    assert "forum" not in TOOLS


def test_the_sign_off_page_offers_and_writes_it(plugs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with added(TOOLS, plugs):
        page, store, batch = approved_sign_off(tmp_path / "home", monkeypatch)
        page.run()
        choice = page.selectbox(key="export_format")
        assert choice.options == ["Label Studio", "Argilla", "CSV", "Our forum", "Parquet", "JSON Lines"]
        choice.select("Our forum").run()
        page.button(key="export").click().run()
        assert not page.exception
        written = tmp_path / "home" / "exports" / f"{batch.batch_id}-forum-unsigned.posts"
        assert len(json.loads(written.read_text())) == 12
        store.close()


def test_every_tool_knows_its_own_unanswered_file_and_no_other_does(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    for tool in TOOLS:
        out = tmp_path / f"out.{tool.name}"
        export_batch(made["batch"], to=tool.name, out=out, store=store)
        assert [other.name for other in TOOLS if knows(other, out)] == [tool.name]


def knows(tool: Any, path: Path) -> bool:
    try:
        return bool(tool.unanswered(Content(path)))
    except ValueError:
        return False


def test_a_file_may_be_said_to_come_from_every_tool_but_those_it_tells_itself() -> None:
    assert set(label_formats()) - {"auto"} == {tool.name for tool in TOOLS if tool.by_name}
    assert {tool.takes for tool in TOOLS} >= {"table", "binary", "list", "lines"}  # whatever comes, somebody reads it
