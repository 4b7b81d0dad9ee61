"""Rows given to people: nobody sees a pair twice, shares are even, quotas hold, and what was given is written down."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.batch.folder import read_batch
from curation.batch.presentation import Presented
from curation.cli.app import main
from curation.errors import ExportError
from curation.exchange.assignment import COLUMNS, Annotator, assign, parse_annotators
from curation.exchange.receive import import_labels, label_report
from curation.exchange.send import export_batch
from curation.review.store.store import Store
from tests.desk.exports import HEADER, record
from tests.desk.exports import write as export
from tests.desk.labels import side, write

THREE = parse_annotators("ana,ben,cem")


def rows_of(copies: list[int]) -> list[Presented]:
    """Rows of pairs that go out so many times: all first ones before all second ones, as files have them."""
    most = max(copies)
    return [
        Presented(f"p{n}", "q", "l", "r", f"{n}l", f"{n}r", copy, copy)
        for copy in range(1, most + 1)
        for n, wanted in enumerate(copies)
        if copy <= wanted
    ]


# Assignment ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(4, 7))
def test_every_row_has_somebody_nobody_sees_a_pair_twice_and_shares_differ_by_one(copies: list[int], n: int) -> None:
    rows = rows_of(copies)
    people = [Annotator(f"u{k}") for k in range(n)]
    names = assign(rows, people, HEADER)
    seen = [(row.pair_id, name) for row, name in zip(rows, names, strict=True)]
    assert len(set(seen)) == len(rows) == sum(copies)
    shares = Counter(names)
    if len(copies) * n >= 4 * len(rows):  # else a share can be capped by the number of pairs
        assert max(shares.values()) - min(shares[p.name] for p in people) <= 1


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=8),
    st.lists(st.one_of(st.none(), st.integers(1, 8)), min_size=3, max_size=4),
)
def test_an_assignment_is_found_wherever_there_is_one(copies: list[int], quotas: list[int | None]) -> None:
    rows = rows_of(copies)
    people = [Annotator(f"u{k}", quota) for k, quota in enumerate(quotas)]
    caps = [len(copies) if q is None else q for q in quotas]
    # Gale and Ryser for upper bounds: any k pairs need no more rows than k seats per person and the caps give.
    ordered = sorted(copies, reverse=True)
    possible = all(sum(ordered[:k]) <= sum(min(cap, k) for cap in caps) for k in range(1, len(copies) + 1))
    if not possible:
        with pytest.raises(ExportError, match="quotas"):
            assign(rows, people, HEADER)
        return
    names = assign(rows, people, HEADER)
    assert len({(row.pair_id, name) for row, name in zip(rows, names, strict=True)}) == len(rows)
    assert all(names.count(p.name) <= cap for p, cap in zip(people, caps, strict=True))


def test_the_same_batch_gives_the_same_lists_and_another_seed_others() -> None:
    from dataclasses import replace

    rows = rows_of([2] * 10 + [1] * 40)
    assert assign(rows, THREE, HEADER) == assign(rows, THREE, HEADER)
    assert assign(rows, THREE, HEADER) != assign(rows, THREE, replace(HEADER, batch_seed="another"))


def test_every_two_people_share_pairs_so_that_all_can_be_compared() -> None:
    rows = rows_of([2] * 60)
    met: dict[str, set[str]] = defaultdict(set)
    for row, name in zip(rows, assign(rows, THREE, HEADER), strict=True):
        met[row.pair_id].add(name)
    assert set(Counter(frozenset(names) for names in met.values()).values()) == {20}


def test_a_quota_caps_and_the_others_take_the_rest() -> None:
    names = Counter(assign(rows_of([2] * 10 + [1] * 40), parse_annotators("ana=7,ben,cem"), HEADER))
    assert names["ana"] == 7
    assert {names["ben"], names["cem"]} == {26, 27}


def test_what_cannot_be_given_out_is_refused_with_a_remedy() -> None:
    with pytest.raises(ExportError, match=r"goes out 2 times and 1 annotators are named.*--order random"):
        assign(rows_of([2]), parse_annotators("ana"), HEADER)
    with pytest.raises(ExportError, match="50 rows go out and the annotators take 45 at most"):
        assign(rows_of([1] * 50), parse_annotators("ana=20,ben=25"), HEADER)
    with pytest.raises(ExportError, match=r"no two different people|take .* at most"):
        assign(rows_of([2] * 10), parse_annotators("ana=2,ben=2,cem"), HEADER)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ana,,ben", "is no name"), ("ana,../x", "is no name"), ("=5", "is no name"), ("+ana", "is no name"),
        ("ana=0", "quota '0' of ana"), ("ana=x", "quota 'x' of ana"), ("ana=", "quota '' of ana"),
        ("ana,Ana", "named twice"), ("a" * 65, "is no name"),
    ],
)  # fmt: skip
def test_annotators_that_cannot_be_read_are_refused(text: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        parse_annotators(text)


def test_names_and_quotas_are_read() -> None:
    assert parse_annotators("ana@x.org, ben = 40,Zoë") == (
        Annotator("ana@x.org"), Annotator("ben", 40), Annotator("Zoë")
    )  # fmt: skip


# Files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["csv", "parquet", "jsonl"])
def test_tables_are_written_whole_and_one_for_each_person(tmp_path: Path, to: str) -> None:
    records = [record(n, copies=2 if n < 4 else 1) for n in range(12)]
    result = export(tmp_path, records, to, name=f"out.{to}", annotators=THREE)

    def read(path: Path) -> list[dict[str, Any]]:
        if to == "csv":
            with path.open(newline="", encoding="utf-8") as handle:
                return list(csv.DictReader(handle))
        if to == "parquet":
            return pq.read_table(path).to_pylist()
        return [json.loads(line) for line in path.read_text().splitlines()]

    whole = read(result.path)
    parts = {name: read(tmp_path / f"out.for-{name}.{to}") for name in ("ana", "ben", "cem")}
    assert {name: len(rows) for name, rows in parts.items()} == result.annotators
    assert sum(map(len, parts.values())) == len(whole) == result.rows == 16
    for name, rows in parts.items():
        assert {row["annotator"] for row in rows} == {name}
        assert len({row["pair_id"] for row in rows}) == len(rows)
        assert [row for row in whole if row["annotator"] == name] == rows
    listed = list(csv.DictReader((tmp_path / "out.assignments.csv").open(newline="", encoding="utf-8")))
    assert tuple(listed[0]) == COLUMNS
    assert [(row["pair_id"], row["annotator"]) for row in listed] == [(r["pair_id"], r["annotator"]) for r in whole]


def test_label_studio_tasks_say_whose_they_are_and_a_tab_shows_each_person_hers(tmp_path: Path) -> None:
    result = export(tmp_path, [record(n, copies=2) for n in range(6)], "label-studio", name="t.json", annotators=THREE)
    tasks = json.loads(result.path.read_text())
    seen = [(task["data"]["pair_id"], task["data"]["assigned_to"]) for task in tasks]
    assert len(set(seen)) == 12
    assert Counter(name for _, name in seen) == {"ana": 4, "ben": 4, "cem": 4}
    tabs = json.loads((tmp_path / "t.tabs.json").read_text())
    assert [tab["data"]["title"] for tab in tabs] == ["ana", "ben", "cem"]
    (item,) = tabs[0]["data"]["filters"]["items"]
    assert (item["filter"], item["operator"], item["value"]) == ("filter:tasks:data.assigned_to", "equal", "ana")


def test_argilla_asks_two_people_about_one_record(tmp_path: Path) -> None:
    records = [record(n, copies=2 if n < 4 else 1) for n in range(12)]
    result = export(tmp_path, records, "argilla", name="r.json", annotators=THREE)
    once, twice = (json.loads((tmp_path / name).read_text()) for name in ("r.json", "r.by-2.json"))
    assert [len(once), len(twice)] == [8, 4]
    assert {item["metadata"]["pair_id"] for item in twice} == {r["pair_id"] for r in records[:4]}
    wanted = [json.loads((tmp_path / f"{name}.settings.json").read_text())["distribution"] for name in ("r", "r.by-2")]
    assert [w["min_submitted"] for w in wanted] == [1, 2]
    assert (result.rows, result.pairs) == (16, 12)
    assert {path.name for path in result.extra_paths} == {"r.settings.json", "r.by-2.json", "r.by-2.settings.json"}


def test_argilla_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    for order, people, words in (
        ("both", "ana,ben", "nobody twice"), ("random", "ana=3,ben", "keeps no quotas"), ("random", "ana", "name 2")
    ):  # fmt: skip
        with pytest.raises(ExportError, match=words):
            export(tmp_path, [record(1, copies=2)], "argilla", order=order, annotators=parse_annotators(people))
    assert list(tmp_path.iterdir()) == []


def test_without_annotators_files_are_what_they_were(tmp_path: Path) -> None:
    result = export(tmp_path, [record(1)], "jsonl", name="o.jsonl")
    assert "annotator" not in result.path.read_text()
    table = export(tmp_path, [record(1)], "csv", name="o.csv").path.read_text()
    assert table.splitlines()[1].endswith(",,")  # nobody's yet: to be filled in, like the answer
    assert (result.extra_paths, result.annotators) == ((), {})


@pytest.mark.parametrize("taken", ["o.for-ben.csv", "o.assignments.csv"])
def test_a_list_that_exists_is_left_and_nothing_is_written(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ExportError, match=f"{taken} already exists"):
        export(tmp_path, [record(n) for n in range(6)], "csv", name="o.csv", annotators=THREE)
    assert [path.name for path in tmp_path.iterdir()] == [taken]


# There and back -----------------------------------------------------------------------------------------------------


def test_each_persons_file_comes_back_under_her_name_and_agreement_is_between_people(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    told = export_batch(made["batch"], to="csv", out=tmp_path / "o.csv", annotators=THREE, store=store)
    assert sum(told["annotators"].values()) == sum(r["copies"] for r in batch.records)
    for name in told["annotators"]:
        path = tmp_path / f"o.for-{name}.csv"
        rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
        for row in rows:
            row["preference"] = side(batch, row)
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        import_labels(made["batch"], path, store=store)
    labels = store.labels(batch.batch_id)
    assert Counter(label.annotator for label in labels) == told["annotators"]
    quality = label_report(batch, store)["quality"]
    assert quality["between"]["pairs"] == sum(r["copies"] == 2 for r in batch.records)
    assert quality["within"] is None
    assert quality["between"]["agreement"] == 1.0


def test_an_argilla_record_that_two_people_answered_is_two_labels(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    export_batch(made["batch"], to="argilla", out=tmp_path / "r.json", annotators=THREE, store=store)
    words = {"left": "a", "right": "b", "tie": "tie"}
    records = json.loads((tmp_path / "r.by-2.json").read_text())
    for item in records:
        value = {"preference": {"value": words[side(batch, item["metadata"])]}}
        item["responses"] = [{"values": value, "status": "submitted", "user_id": who} for who in ("u1", "u2")]
    result = import_labels(made["batch"], write(tmp_path / "back.json", records), store=store)
    assert result["labels"] == 2 * len(records) > 0
    assert result["quality"]["between"]["pairs"] == len(records)


def test_the_command_line_gives_rows_to_people_and_force_replaces_only_lists(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:  # fmt: skip
    from curation.review.register import record_batch
    from curation.review.store.store import open_store

    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    batch = read_batch(made["batch"])
    opened = open_store()
    record_batch(opened, batch, who="ana")
    opened.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    opened.close()
    asked = ["export", str(made["batch"]), "--to", "csv", "--unsigned", "--out", str(tmp_path / "o.csv")]
    assert main([*asked, "--annotators", "ana,ben,cem", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {Path(path).name for path in told["also_written"]} == {
        "o.assignments.csv", "o.for-ana.csv", "o.for-ben.csv", "o.for-cem.csv"
    }  # fmt: skip
    assert main([*asked, "--annotators", "ana,ben,cem", "--force"]) == 0
    (tmp_path / "o.for-ben.csv").write_text("mine")
    assert main([*asked, "--annotators", "ana,ben,cem", "--force"]) == 1
    assert (tmp_path / "o.for-ben.csv").read_text() == "mine"
    assert main([*asked[:3], "trl", *asked[5:], "--annotators", "ana"]) != 0
