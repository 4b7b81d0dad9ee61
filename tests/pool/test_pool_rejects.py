"""Bad input: one bad row is put aside with its line and reason, an unreadable file is a named error."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import PoolError
from curation.pool.files.storage import write_rejects
from curation.pool.readers.read import column_mapping_choices, detect_format, read_pool

TWO = [{"response_id": "r0", "text": "a"}, {"response_id": "r1", "text": "b"}]
GOOD = {"prompt": "x", "responses": TWO}


def as_line(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "truncated": (as_line(GOOD)[:-9], "invalid JSON"),
    "not json": (b"hello", "invalid JSON: Expecting value at character 1"),
    "huge integer": (b'{"prompt": ' + b"9" * 5000 + b"}", "invalid JSON"),
    "too deep": (b"[" * 100_000, "invalid JSON"),
    "list": (b"[1, 2]", "not an object but a list"),
    "null": (b"null", "not an object but null"),
    "no prompt": (as_line({"responses": TWO}), "field prompt is missing"),
    "no responses": (as_line({"prompt": "x"}), "field responses is missing"),
    "wrong type": (
        as_line({"prompt": "x", "responses": [{"text": "a"}, {"text": 3}]}),
        "responses[1].text must be tex",
    ),
    "one response": (as_line({"prompt": "x", "responses": TWO[:1]}), "has 1 responses; at least two are needed"),
    "response_id": (as_line({"prompt": "x", "responses": [TWO[0], TWO[0]]}), "response_id 'r0' appears twice"),
    "pair": (as_line({**GOOD, "pairs": [["r0", "r9"]]}), "a pair names the response 'r9'"),
    "self pair": (as_line({**GOOD, "pairs": [["r0", "r0"]]}), "a pair compares the response 'r0' with itself"),
    "no pair": (as_line({**GOOD, "pairs": []}), "field pairs is empty"),
    "label": (as_line({**GOOD, "labels": [["r7", "r0", 1]]}), "a label names the response 'r7'"),
    "inf": (
        b'{"prompt": "x", "responses": [{"text": "a", "reference_logprob": 1e999}, {"text": "b"}]}',
        "a finite number",
    ),
    "weight": (as_line({**GOOD, "prompt_weight": -1}), "field prompt_weight must be above 0"),
    "utf-8": (as_line(GOOD).replace(b"x", b"x\xff"), "not valid UTF-8: byte 0xFF at offset 13"),
    "surrogate": (b'{"prompt": "\\ud83d", "responses": [{"text": "a"}, {"text": "b"}]}', "half of a surrogate pair"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_rejected_with_its_number_reason_and_text(tmp_path: Path, case: str) -> None:
    bad, reason = BAD_LINES[case]
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n".join([as_line({**GOOD, "prompt_id": 1}), b"", bad, as_line({**GOOD, "prompt_id": 2})]))
    read = read_pool(path)
    (reject,) = read.rejects
    assert (reject.line, read.rows, read.rows_used) == (3, 3, 2)
    assert reason in reject.reason
    assert reject.raw == bad.decode("utf-8", "replace")[:2000]
    assert [prompt.prompt_id for prompt in read.pool.prompts] == ["1", "2"]


def test_a_repeated_prompt_id_names_the_earlier_line(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(
        b"\n".join([as_line(GOOD), b"", as_line({**GOOD, "prompt_id": 5}), as_line({**GOOD, "prompt_id": "5"})])
    )
    (reject,) = read_pool(path).rejects
    assert (reject.line, reject.reason) == (4, "prompt_id '5' was already used by line 3")


@given(
    picks=st.lists(st.one_of(st.just("good"), st.just("blank"), st.sampled_from(sorted(BAD_LINES))), max_size=25),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_counts_add_up_for_any_mixture(picks: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    lines, bad_at = [as_line({**GOOD, "prompt": "first ü"})], []
    for number, pick in enumerate(picks, start=2):
        if pick == "good":
            lines.append(as_line({"prompt": f"{seed} {number}", "responses": TWO}))
        elif pick == "blank":
            lines.append(b"  ")
        else:
            lines.append(BAD_LINES[pick][0])
            bad_at.append(number)
    path = tmp_path_factory.mktemp("mixture") / "pool.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    read = read_pool(path)
    assert read.rows == read.rows_used + len(read.rejects) == len(lines) - picks.count("blank")
    assert [reject.line for reject in read.rejects] == bad_at
    assert read.rows_used == len(read.pool.prompts)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("PQR"), st.sampled_from(["a", "b", None, 3, ""]), st.booleans()), max_size=15
    ),
)
@settings(deadline=None, max_examples=60)
def test_counts_add_up_for_any_flat_table(rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    made = [
        {"prompt": p, "response": t, "quality": 1.0 if fine else "x"} for p, t, fine in [("Z", "a", True)] * 2 + rows
    ]
    path = tmp_path_factory.mktemp("flat") / "pool.jsonl"
    path.write_bytes(b"".join(as_line(row) + b"\n" for row in made))
    read = read_pool(path)
    assert read.rows == read.rows_used + len(read.rejects) == len(made)
    assert read.pool.n_responses == read.rows_used
    assert all(len(prompt.responses) > 1 for prompt in read.pool.prompts)


def test_flat_rows_left_alone_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_text(
        "prompt_id,prompt,response,quality\np,Q,a,1\np,Q,b,nan\nq,R,c,2\n\np,Q,c,\np,other,d,1\n,,e,1\np,Q\n"
    )
    read = read_pool(path)
    assert (read.rows, read.rows_used) == (7, 3)
    assert [(reject.line, reject.reason) for reject in read.rejects] == [
        (3, "prompt 'q' ends up with one response; at least two are needed"),
        (5, "prompt_id 'p' was already used by line 1 for another prompt"),
        (6, "field prompt is missing"),
        (7, "has 2 cells where the header has 4"),
    ]


def test_an_open_quote_does_not_swallow_rows_unseen(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_text('prompt,response\nQ,a\nQ,b\nQ,"never closed\nQ,c\n')
    read = read_pool(path)
    (reject,) = read.rejects
    assert (reject.line, read.rows_used) == (3, 2)
    assert reject.reason == "invalid CSV from file line 4 on: a quoted field is never closed"
    assert reject.raw == 'Q,"never closed\nQ,c'


def test_a_bad_byte_in_a_csv_rejects_its_row(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_bytes(b"prompt,response\nQ,a\nQ,b\nQ,caf\xe9\n")
    (reject,) = read_pool(path).rejects
    assert (reject.line, reject.raw) == (3, "Q,caf\ufffd")
    assert "byte 0xE9" in reject.reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Q", "chosen": "a"}, "field rejected is missing"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "field prompt must be text or a non-empty list"),
        ({"prompt": "Q", "chosen": "a", "rejected": 4}, "must be text or lists of messages"),
        ({"prompt": "Q", "chosen": "a", "rejected": [{"role": "user", "content": "b"}]}, "both text or both lists"),
        ({"prompt": "Q", "chosen": [], "rejected": []}, "field chosen has no message"),
        ({"prompt": "Q", "chosen": [{"role": "a"}], "rejected": []}, "field chosen: message 0 needs content"),
        ({"chosen": "abc def", "rejected": "abc ghi"}, "field prompt is missing, as other rows have it"),
        ({"prompt": "Q", "chosen": "a", "rejected": "b", "prompt_weight": 0}, "field prompt_weight must be above 0"),
        ({"prompt": "other", "prompt_id": "1", "chosen": "a", "rejected": "b"}, "already used by line 1 for another"),
    ],
)
def test_a_bad_preference_row_says_why(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    path = tmp_path / "pool.jsonl"
    good = {"prompt": "Q", "prompt_id": 1, "chosen": "a", "rejected": "b"}
    path.write_bytes(as_line(good) + b"\n" + as_line(row))
    (reject,) = read_pool(path).rejects
    assert reject.line == 2
    assert reason in reject.reason


def test_transcripts_that_share_no_turn_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    rows = [
        {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: y"},
        {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: a\n\nAssistant: y"},
        {"chosen": "The sky is blue", "rejected": "The sky is green"},
        {"chosen": "\n\nAssistant: x", "rejected": "\n\nAssistant: y"},
    ]
    path.write_bytes(b"\n".join(map(as_line, rows)))
    read = read_pool(path)
    assert (read.format, read.rows_used) == ("hh", 1)
    assert [reject.line for reject in read.rejects] == [1, 3, 4]
    assert "share no" in read.rejects[0].reason
    assert "nothing stands before" in read.rejects[2].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"instruction": "Q", "completions": [{"response": "a"}, {"model": "m"}]},
            "completions[1].response is missing",
        ),
        (
            {"instruction": "Q", "generations": ["a", "b"], "generation_models": ["m"]},
            "generation_models has 1 entries",
        ),
        ({"instruction": "Q", "generations": ["a", None]}, "has 1 responses"),
        ({"instruction": "Q", "generations": ["a", 3]}, "field generations[1] must be text"),
    ],
)
def test_a_bad_list_row_names_its_own_field(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    path = tmp_path / "pool.jsonl"
    good: dict[str, Any] = {"instruction": "good", "generations": ["a", "b"]}
    if "completions" in row:
        good = {"instruction": "good", "completions": [{"response": "a"}, {"response": "b"}]}
    path.write_bytes(as_line(good) + b"\n" + as_line(row))
    (reject,) = read_pool(path).rejects
    assert reason in reject.reason


def test_a_parquet_row_is_rejected_by_its_row_number(tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    rows = [{"prompt": f"Q{i}", "responses": TWO if i != 1500 else TWO[:1]} for i in range(2000)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    read = read_pool(path)
    (reject,) = read.rejects
    assert (reject.line, read.rows_used) == (1501, 1999)
    assert json.loads(reject.raw)["prompt"] == "Q1500"


def test_a_folder_says_which_file_a_reject_is_in(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(as_line({**GOOD, "prompt": name}) + b"\nbroken\n")
    read = read_pool(tmp_path)
    assert [reject.line for reject in read.rejects] == [2, 4]
    assert read.rejects[1].reason.startswith("b.jsonl line 2: invalid JSON")


def test_rejects_are_written_one_per_line(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(as_line(GOOD) + b"\n" + b"\n".join(bad for bad, _ in BAD_LINES.values()))
    rejects = read_pool(path).rejects
    out = write_rejects(rejects, tmp_path / "new" / "rejects.jsonl")
    written = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    assert [(w["line"], w["reason"]) for w in written] == [(r.line, r.reason) for r in rejects]
    assert max(len(w["raw"]) for w in written) == 2000


NOISE = "\n".join(
    json.dumps({"prompt": str(random.Random(i).random()), "responses": TWO}) for i in range(2000)
).encode()
BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.jsonl", b"", "is empty"),
    "blank": ("a.jsonl", b" \n\n", "is empty"),
    "empty gzip": ("a.jsonl.gz", gzip.compress(b""), "is empty"),
    "header only": ("a.csv", b"prompt,response\n", "is empty"),
    "utf-16": ("a.jsonl", as_line(GOOD).decode().encode("utf-16"), "UTF-16 .*byte offset 0"),
    "utf-16 without mark": ("a.csv", "prompt,response\nQ,a\n".encode("utf-16-le"), "UTF-16"),
    "latin-1": (
        "a.jsonl",
        b"\n".join(json.dumps({**GOOD, "prompt": f"é {i}"}, ensure_ascii=False).encode("latin-1") for i in range(3)),
        "not UTF-8: 3 of 3 rows fail, first line 1, byte offset 12 in it, value 0xE9",
    ),
    "latin-1 csv": ("a.csv", b"prompt,response\nQ\xe9,a\nQ\xe9,b\n", "not UTF-8: 2 of 2 rows fail, first row 1"),
    "gzip cut off": ("a.jsonl.gz", gzip.compress(NOISE)[:-400], "damaged or cut-off"),
    "gzip damaged": ("a.jsonl.gz", gzip.compress(NOISE)[:-8] + b"\0" * 8, "damaged or cut-off"),
    "zstd cut off": ("a.jsonl.zst", zstandard.compress(NOISE)[:-400], "damaged or cut-off"),
    "not gzip": ("a.jsonl.gz", NOISE, "is named .gz but is not gzip data"),
    "not parquet": ("a.parquet", NOISE, "does not begin as a Parquet file"),
    "parquet cut off": ("a.parquet", b"PAR1" + NOISE, "cannot be read as Parquet"),
    "unknown": (
        "a.jsonl",
        b'{"text": "a", "label": 1}',
        "unknown format with the columns text, label; formats known are",
    ),
    "no json": ("a.jsonl", b"hello\nworld", "none of the first 2 rows can be read; line 1: invalid JSON"),
    "nothing usable": (
        "a.jsonl",
        as_line({"prompt": "x", "responses": []}),
        "no usable prompt.* line 1: has 0 responses",
    ),
    "repeated column": ("a.csv", b"prompt,response,prompt\nQ,a,Q", "column 'prompt' appears twice"),
    "bad array": ("a.json", b'[{"prompt": "x"}, \n{"prompt"', "not valid JSON: .* at line 2"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_an_unreadable_file_is_a_named_error(tmp_path: Path, case: str) -> None:
    name, content, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PoolError, match=message):
        read_pool(tmp_path / name)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for a hub that is out of reach."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("read", [read_pool, detect_format, column_mapping_choices])
@pytest.mark.parametrize("name", ["missing.jsonl", "someone/some-set", "x" * 5000])
def test_a_missing_file_is_a_named_error(tmp_path: Path, read: Any, name: str) -> None:
    with pytest.raises(PoolError, match=r"does not exist|cannot be opened"):
        read(tmp_path / name)
    with pytest.raises(PoolError, match=r"does not exist|cannot be opened"):
        read(name)


@pytest.mark.usefixtures("offline")
def test_a_hub_name_that_cannot_be_loaded_says_so_and_what_else_to_do() -> None:
    with pytest.raises(PoolError, match=r"does not exist here, and no dataset of that name.*download the dataset"):
        read_pool("someone/some-set-that-is-not-there")


def test_an_empty_folder_and_an_unknown_format_name_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="holds no data files"):
        read_pool(tmp_path)
    with pytest.raises(PoolError, match="format 'excel' is unknown; use auto or one of canonical, trl"):
        read_pool(tmp_path, format="excel")
