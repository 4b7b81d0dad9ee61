"""Every format of pool: what is read, that nothing is lost, and that no outcome leaks into the pool."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import PoolError
from curation.pool.readers.preference import TURN, parse_transcript, split_transcripts, transcript
from curation.pool.readers.read import column_mapping_choices, detect_format, read_pool
from curation.pool.schema import Pool, PoolFile, content_id

Rows = list[dict[str, Any]]


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows_as(tmp_path: Path, rows: Rows, kind: str = "jsonl", **options: Any) -> PoolFile:
    if kind == "jsonl":
        path = write_jsonl(tmp_path / "pool.jsonl", rows)
    else:
        path = tmp_path / "pool.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
    return read_pool(path, **options)


def texts(pool: Pool) -> list[list[str]]:
    return [[response.text for response in prompt.responses] for prompt in pool.prompts]


def test_canonical_rows_keep_ids_graph_and_outcomes(tmp_path: Path) -> None:
    answers = [{"response_id": i, "text": f"t{i}", "quality": i / 10, "generator": "g"} for i in range(3)]
    row = {"prompt_id": 7, "prompt": "x", "responses": answers, "pairs": [[2, 0], [0, 2], [1, 2]]}
    row |= {"labels": [["2", "0", 0.75]], "stratum": "s", "prompt_weight": 2, "meta": {"lang": "en"}}
    read = read_rows_as(tmp_path, [row])
    prompt = read.pool.prompts[0]
    assert (read.format, read.rows, read.rows_used, read.rejects) == ("canonical", 1, 1, ())
    assert (prompt.prompt_id, prompt.pairs, prompt.stratum, prompt.weight) == ("7", ((0, 2), (1, 2)), "s", 2.0)
    assert prompt.meta == {"lang": "en"}
    assert [r.response_id for r in prompt.responses] == ["0", "1", "2"]
    assert read.truth.quality == {("7", "0"): 0.0, ("7", "1"): 0.1, ("7", "2"): 0.2}
    assert read.truth.labels == (("7", "2", "0", 0.75),)
    assert read.notes == ("1 repeated pairs merged",)


def test_missing_ids_are_content_hashes_with_an_occurrence_suffix(tmp_path: Path) -> None:
    row = {"prompt": "x", "responses": [{"text": "same"}, {"text": "other"}, {"text": "same"}]}
    pool = read_rows_as(tmp_path, [row, row]).pool
    same, other = content_id("same"), content_id("other")
    assert [r.response_id for r in pool.prompts[0].responses] == [same, other, f"{same}-2"]
    assert [p.prompt_id for p in pool.prompts] == [content_id("x"), content_id("x") + "-2"]


def test_outcomes_never_travel_in_meta(tmp_path: Path) -> None:
    answers = [{"text": "a", "meta": {"Score": 1, "judge": {"rating": 5, "name": "j"}, "t": 0.7}}, {"text": "b"}]
    read = read_rows_as(tmp_path, [{"prompt": "x", "responses": answers, "meta": {"annotations": [1]}}])
    assert read.pool.prompts[0].responses[0].meta == {"judge": {"name": "j"}, "t": 0.7}
    assert read.pool.prompts[0].meta == {}
    assert any("'Score'" in note for note in read.notes)


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_shuffling_qualities_leaves_the_pool_unchanged(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    import random

    rng = random.Random(seed)

    def rows(qualities: list[float]) -> Rows:
        values = iter(qualities)
        answers = [[{"text": f"{p}{i}", "quality": next(values)} for i in range(3)] for p in "ab"]
        return [{"prompt": p, "responses": a} for p, a in zip("ab", answers, strict=True)]

    folder = tmp_path_factory.mktemp("shuffle")
    qualities = [0.1 * i for i in range(6)]
    plain = read_rows_as(folder, rows(qualities))
    shuffled = read_rows_as(folder, rows(rng.sample(qualities, 6)))
    assert shuffled.pool == plain.pool
    assert shuffled.pool.fingerprint == plain.pool.fingerprint
    assert sorted(shuffled.truth.quality.values()) == sorted(plain.truth.quality.values())


TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Q"}]


def say(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


PREFERENCES: dict[str, tuple[str, Rows, Any]] = {
    "explicit text": ("trl", [{"prompt": "Q", "chosen": "good", "rejected": "bad"}], "Q"),
    "explicit messages": ("trl", [{"prompt": TALK, "chosen": [say("good")], "rejected": [say("bad")]}], TALK),
    "implicit messages": ("trl", [{"chosen": [*TALK, say("good")], "rejected": [*TALK, say("bad")]}], TALK),
    "messages repeat the prompt": (
        "trl",
        [{"prompt": TALK, "chosen": [*TALK, say("good")], "rejected": [*TALK, say("bad")]}],
        TALK,
    ),
    "text prompt before messages": (
        "trl",
        [{"prompt": "Q", "chosen": [TALK[2], say("good")], "rejected": [TALK[2], say("bad")], "score_chosen": 8.0}],
        [TALK[2]],
    ),
    "transcripts": (
        "hh",
        [{"chosen": "\n\nHuman: Q\n\nAssistant: good", "rejected": "\n\nHuman: Q\n\nAssistant: bad"}],
        [{"role": "user", "content": "Q"}],
    ),
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("case", PREFERENCES)
def test_preference_rows_of_every_kind(tmp_path: Path, case: str, kind: str) -> None:
    expected_format, rows, prompt = PREFERENCES[case]
    read = read_rows_as(tmp_path, rows, kind)
    assert (read.format, len(read.rejects)) == (expected_format, 0)
    assert read.pool.prompts[0].prompt == prompt
    assert sorted(texts(read.pool)[0]) == ["bad", "good"]
    assert read.pool.prompts[0].pairs == ((0, 1),)
    ((_, a, _, probability),) = read.truth.labels
    assert probability == (1.0 if a == content_id("good") else 0.0)


def test_text_without_prompt_splits_at_a_whole_word(tmp_path: Path) -> None:
    read = read_rows_as(tmp_path, [{"chosen": "The sky is green", "rejected": "The sky is grey"}])
    assert read.pool.prompts[0].prompt == "The sky is"
    assert sorted(texts(read.pool)[0]) == [" green", " grey"]


def test_rows_of_one_prompt_form_a_graph_with_their_own_edges(tmp_path: Path) -> None:
    def row(chosen: str, rejected: str) -> dict[str, Any]:
        return {"prompt": "Q", "chosen": chosen, "rejected": rejected}

    read = read_rows_as(tmp_path, [row("a", "b"), row("b", "c"), row("b", "a"), row("d", "c")])
    (prompt,) = read.pool.prompts
    ids = [response.response_id for response in prompt.responses]
    assert ids == sorted(map(content_id, "abcd"))
    edges = {frozenset(prompt.responses[i].text for i in pair) for pair in prompt.pairs or ()}
    assert edges == {frozenset("ab"), frozenset("bc"), frozenset("cd")}
    assert (read.rows, read.rows_used, read.pool.n_pairs) == (4, 4, 3)
    labels = {frozenset((a, b)): p for _, a, b, p in read.truth.labels}
    assert labels[frozenset(map(content_id, "ab"))] == 0.5  # chosen once, rejected once
    assert any("repeat a pair" in note for note in read.notes)


SIDES = st.sampled_from(["", "yes", "no", "perhaps"])
NAMES = st.sampled_from([None, "m1", "m2"])
COMPARISON = st.tuples(st.sampled_from(["P", "Q"]), SIDES, SIDES, NAMES, NAMES)


@given(rows=st.lists(COMPARISON, min_size=1, max_size=6), swaps=st.lists(st.booleans(), min_size=6, max_size=6))
@settings(deadline=None, max_examples=60)
def test_swapping_chosen_and_rejected_gives_the_identical_pool(
    rows: list[Any], swaps: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def as_rows(flip: list[bool]) -> Rows:
        made = []
        for (prompt, *rest), turned in zip(rows, flip, strict=False):
            a, b, name_a, name_b = rest
            if turned:
                a, b, name_a, name_b = b, a, name_b, name_a
            made.append(
                {"prompt": prompt, "chosen": a, "rejected": b, "chosen_model": name_a, "rejected_model": name_b}
                | {"score_chosen": 9.0, "score_rejected": 1.0}
            )
        return made

    folder = tmp_path_factory.mktemp("swap")
    plain = read_rows_as(folder, as_rows([False] * 6))
    swapped = read_rows_as(folder, as_rows(swaps))
    assert swapped.pool == plain.pool
    assert swapped.pool.fingerprint == plain.pool.fingerprint
    assert plain.rows_used == len(rows)


def test_identical_texts_stay_two_responses(tmp_path: Path) -> None:
    read = read_rows_as(tmp_path, [{"prompt": "Q", "chosen": "same", "rejected": "same"}])
    same = content_id("same")
    assert [r.response_id for r in read.pool.prompts[0].responses] == [same, f"{same}-2"]
    assert read.truth.labels == ((content_id("Q"), same, f"{same}-2", 0.5),)


def test_scores_of_preference_rows_go_to_the_truth(tmp_path: Path) -> None:
    row = {"prompt": "Q", "chosen": "a", "rejected": "b", "chosen-rating": 5, "rejected-rating": 2}
    read = read_rows_as(tmp_path, [row | {"chosen-model": "m", "source": "s"}])
    assert {key[1]: value for key, value in read.truth.quality.items()} == {content_id("a"): 5, content_id("b"): 2}
    assert {r.text: r.generator for r in read.pool.prompts[0].responses} == {"a": "m", "b": None}
    assert read.pool.prompts[0].stratum == "s"
    assert "5" not in repr(read.pool).replace(content_id("a"), "").replace(content_id("b"), "").replace(
        content_id("Q"), ""
    )


def test_a_transcript_splits_at_the_last_turn_shared() -> None:
    opening = "\n\nHuman: one\n\nAssistant: two\nlines\n\nand more\n\nHuman: three"
    chosen, rejected = opening + TURN + "x\n\nHuman: y\n\nAssistant: z", opening + TURN + "other\n\nwords"
    messages, good, bad = split_transcripts(chosen, rejected)
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "two\nlines\n\nand more"
    assert (good, bad) == ("x\n\nHuman: y\n\nAssistant: z", "other\n\nwords")


@given(st.lists(st.sampled_from(["\n\nHuman: ", TURN, "\n\n", "Human: ", "word", " ", "\n"]), max_size=12).map("".join))
def test_parsing_a_transcript_loses_no_character(text: str) -> None:
    lacked = "\n\n" if text.startswith("Human: ") else ""
    assert transcript(parse_transcript(text), "answer") == lacked + text + TURN + "answer"


ULTRAFEEDBACK = {
    "source": "evol",
    "instruction": "Q",
    "completions": [
        {"model": "m1", "response": "a", "fine-grained_score": 4.5, "overall_score": 10.0, "critique": "fine"},
        {"model": "m2", "response": "b", "annotations": {"help": {"Rating": "3"}, "truth": [{"Rating": "N/A"}]}},
        {"model": "m3", "response": "c", "overall_score": 7.0, "principle": "honesty"},
        {"model": "m4", "response": "d"},
    ],
}
DISTILABEL = {
    "instruction": "Q",
    "generations": ["a", None, "b", ""],
    "generation_models": ["m1", "m2", "m1", "m3"],
    "ratings": [4, None, 2.5, None],
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ultrafeedback_completions(tmp_path: Path, kind: str) -> None:
    read = read_rows_as(tmp_path, [ULTRAFEEDBACK], kind)
    (prompt,) = read.pool.prompts
    assert (read.format, prompt.prompt, prompt.stratum, prompt.pairs) == ("ultrafeedback", "Q", "evol", None)
    assert [(r.text, r.generator) for r in prompt.responses] == list(zip("abcd", ["m1", "m2", "m3", "m4"], strict=True))
    assert {r: read.truth.quality.get((prompt.prompt_id, content_id(r))) for r in "abcd"} == {
        "a": 4.5,
        "b": 3.0,
        "c": 7.0,
        "d": None,
    }
    assert [r.meta for r in prompt.responses] == [{}, {}, {"principle": "honesty"}, {}]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_distilabel_generations(tmp_path: Path, kind: str) -> None:
    read = read_rows_as(tmp_path, [DISTILABEL], kind)
    (prompt,) = read.pool.prompts
    assert (read.format, texts(read.pool)) == ("distilabel", [["a", "b", ""]])
    assert [r.generator for r in prompt.responses] == ["m1", "m1", "m3"]
    assert read.truth.quality == {(prompt.prompt_id, content_id("a")): 4, (prompt.prompt_id, content_id("b")): 2.5}
    assert any(note.startswith("1 generations are null") for note in read.notes)


FLAT = [
    {"Question": "Q1", "Answer": "a", "Model": "m1", "Score": "0.5", "id": "1"},
    {"Question": "Q2", "Answer": "c", "Model": "m1", "Score": "", "id": "2"},
    {"Question": "Q1", "Answer": 'two\nlines, and "quotes"', "Model": "m2", "Score": "1e-3", "id": "3"},
    {"Question": "Q2", "Answer": "", "Model": "", "Score": "2", "id": "4"},
]


def write_csv(path: Path, rows: Rows, *, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", encoding=encoding, newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ","), ("utf-8-sig", ","), ("utf-8", ";"), ("utf-8", "\t")]
)
def test_flat_csv_groups_rows_by_prompt(tmp_path: Path, encoding: str, delimiter: str) -> None:
    read = read_pool(write_csv(tmp_path / "flat.csv", FLAT, encoding=encoding, delimiter=delimiter))
    assert (read.format, read.rows, read.rows_used, read.rejects) == ("flat", 4, 4, ())
    assert [p.prompt for p in read.pool.prompts] == ["Q1", "Q2"]
    assert texts(read.pool) == [["a", 'two\nlines, and "quotes"'], ["c", ""]]
    assert [r.generator for r in read.pool.prompts[1].responses] == ["m1", None]
    assert sorted(read.truth.quality.values()) == [0.001, 0.5, 2.0]
    assert [prompt.pairs for prompt in read.pool.prompts] == [None, None]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_flat_tables_of_other_kinds(tmp_path: Path, kind: str) -> None:
    rows = [{"prompt": "Q", "response": t, "score": s, "ref_logprob": -s} for t, s in (("a", 1.0), ("b", 2.0))]
    read = read_rows_as(tmp_path, rows, kind)
    assert (read.format, texts(read.pool)) == ("flat", [["a", "b"]])
    assert read.pool.reference_logprobs().tolist() == [-1, -2]


def test_a_given_mapping_is_used_as_it_is(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "flat.csv", FLAT)
    choices = column_mapping_choices(path)
    assert choices.columns == ("Question", "Answer", "Model", "Score", "id")
    assert choices.guess == {"prompt": "Question", "response": "Answer", "generator": "Model", "quality": "Score"}
    read = read_pool(path, mapping={"prompt": "Question", "response": "Answer", "response_id": "id"})
    assert read.pool.ids()[:2] == [(content_id("Q1"), "1"), (content_id("Q1"), "3")]
    assert read.truth.quality == {}
    with pytest.raises(PoolError, match="gives prompt the column 'nope'; columns are Question, Answer"):
        read_pool(path, mapping={"prompt": "nope", "response": "Answer"})
    with pytest.raises(PoolError, match="names the field 'promt'"):
        read_pool(path, mapping={"promt": "Question", "response": "Answer"})


def test_a_csv_field_may_be_big(tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "response": "x" * 300_000}, {"prompt": "Q", "response": "y"}]
    assert texts(read_pool(write_csv(tmp_path / "big.csv", rows)).pool)[0][0] == "x" * 300_000


CANONICAL = [{"prompt": p, "responses": [{"text": f"{p}1"}, {"text": f"{p}2\u2028é"}]} for p in "ab"]


def test_compression_bom_json_arrays_and_line_ends_make_no_difference(tmp_path: Path) -> None:
    plain = read_pool(write_jsonl(tmp_path / "a.jsonl", CANONICAL)).pool
    data = (tmp_path / "a.jsonl").read_bytes()
    variants = {
        "a.jsonl.gz": gzip.compress(data),
        "no_ending": gzip.compress(data),
        "a.jsonl.zst": zstandard.compress(data[:50]) + zstandard.compress(data[50:]),
        "bom.jsonl": b"\xef\xbb\xbf" + data,
        "crlf.jsonl": b"\r\n\r\n" + data.replace(b"\n", b"\r\n"),
        "open.jsonl": data.rstrip(b"\n"),
        "array.json": json.dumps(CANONICAL, indent=1).encode(),
        "lines.json": data,
    }
    for name, content in variants.items():
        (tmp_path / name).write_bytes(content)
        read = read_pool(tmp_path / name)
        assert (read.rows, read.pool.fingerprint) == (2, plain.fingerprint), name


def test_a_folder_of_data_files_is_one_pool(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    for part, row in enumerate(CANONICAL):
        pq.write_table(pa.Table.from_pylist([row]), folder / "data" / f"train-{part}.parquet")
    read = read_pool(folder)
    assert [p.prompt for p in read.pool.prompts] == ["a", "b"]
    assert (read.pool.name, read.rows) == ("set", 2)
    assert "2 files" in read.notes[0]


def test_a_dataset_saved_as_arrow_is_read(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(CANONICAL)
    for name, new in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
        (tmp_path / name).mkdir()
        with new(str(tmp_path / name / "data-00000-of-00001.arrow"), table.schema) as writer:
            writer.write_table(table)
        (tmp_path / name / "state.json").write_text("{}")
        assert texts(read_pool(tmp_path / name).pool) == [["a1", "a2\u2028é"], ["b1", "b2\u2028é"]]


def test_a_hub_name_uses_the_datasets_package_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(
        __spec__=ModuleSpec("datasets", None, origin="here"), load_dataset=lambda name: {"train": CANONICAL}
    )
    monkeypatch.setitem(sys.modules, "datasets", module)
    read = read_pool("someone/some-set")
    assert (read.rows, read.pool.name) == (2, "someone-some-set")


@pytest.mark.parametrize("case", PREFERENCES)
def test_detection_agrees_with_reading(tmp_path: Path, case: str) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", PREFERENCES[case][1])
    assert detect_format(path) == PREFERENCES[case][0]
