"""Real pools load without loss, and pools written are pools read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from curation.errors import PoolError
from curation.pool.files.storage import replaced, write_pool, write_rejects
from curation.pool.readers.preference import split_transcripts, transcript
from curation.pool.readers.read import read_pool
from curation.pool.schema import Pool, content_id, prompt_text
from tests.desk.pools import real_pool

Rows = list[dict[str, Any]]
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Q"}]
CANONICAL = [{"prompt": p, "responses": [{"text": f"{p}1"}, {"text": f"{p}2\u2028é"}]} for p in "ab"]


def real_rows(name: str) -> Rows:
    with gzip.open(real_pool(name), "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(pool: Pool) -> list[list[str]]:
    return [[response.text for response in prompt.responses] for prompt in pool.prompts]


@pytest.mark.parametrize("name", ["answers_dev.jsonl.gz", "answers_large.jsonl.gz"])
def test_real_answers_load_without_loss(name: str) -> None:
    k = 8 if "dev" in name else 60
    read = read_pool(real_pool(name))
    assert (read.format, read.rows, read.rows_used, read.rejects, read.notes) == ("canonical", 300, 300, (), ())
    assert (read.pool.n_responses, read.pool.n_pairs) == (300 * k, 300 * k * (k - 1) // 2)
    rows = real_rows(name)
    assert [prompt.prompt for prompt in read.pool.prompts] == [row["prompt"] for row in rows]
    assert texts(read.pool) == [[response["text"] for response in row["responses"]] for row in rows]
    assert len(read.truth.quality) == (2400 if "dev" in name else 0)
    assert not read.truth.labels


def test_every_character_of_every_real_transcript_is_accounted_for() -> None:
    path = real_pool("hh_harmless_base_test.jsonl.gz")
    read = read_pool(path)
    assert (read.format, read.rows, read.rows_used, read.rejects) == ("hh", 2312, 2312, ())
    assert (len(read.pool.prompts), read.pool.n_responses, read.pool.n_pairs) == (2310, 4624, 2312)
    won = {(p, a if probability == 1 else b) for p, a, b, probability in read.truth.labels}
    prompts = {prompt.prompt_id: prompt for prompt in read.pool.prompts}
    chosen_seen = set()
    for row in real_rows(path.name):
        messages, chosen, rejected = split_transcripts(row["chosen"], row["rejected"])
        prompt = prompts[content_id(prompt_text(messages))]
        held = {response.text: response.response_id for response in prompt.responses}
        assert isinstance(prompt.prompt, list)
        assert (transcript(prompt.prompt, chosen), transcript(prompt.prompt, rejected)) == (
            row["chosen"],
            row["rejected"],
        )
        pair = tuple(sorted(list(held).index(text) for text in (chosen, rejected)))
        assert pair in (prompt.pairs or ())
        chosen_seen.add((prompt.prompt_id, held[chosen]))
    assert won == chosen_seen
    first = sum(probability == 1 for *_, probability in read.truth.labels)
    assert 0.45 < first / 2312 < 0.55  # the order of the responses says nothing about the outcome


@pytest.mark.parametrize("ending", [".parquet", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("name", ["answers_dev.jsonl.gz", "hh_harmless_base_test.jsonl.gz"])
def test_writing_and_reading_back_a_real_pool_changes_nothing(tmp_path: Path, name: str, ending: str) -> None:
    read = read_pool(real_pool(name))
    path = write_pool(read.pool, tmp_path / f"pool{ending}", truth=read.truth)
    again = read_pool(path, name=read.pool.name)
    assert again.pool == read.pool
    assert again.pool.fingerprint == read.pool.fingerprint
    assert again.truth == read.truth
    bare = read_pool(write_pool(read.pool, tmp_path / f"bare{ending}"))
    assert (bare.truth.quality, bare.truth.labels) == ({}, ())


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_mixed_prompts_weights_and_meta_survive_writing(tmp_path: Path, ending: str) -> None:
    rows = [
        {
            "prompt": TALK,
            "responses": CANONICAL[0]["responses"],
            "prompt_weight": 0.25,
            "meta": {"a": [1, {"b": None}]},
        },
        {"prompt": "[1]", "responses": [{"text": "é", "reference_logprob": -1.5, "meta": {"t": 0.5}}, {"text": ""}]},
    ]
    pool = read_pool(write_jsonl(tmp_path / "pool.jsonl", rows)).pool
    assert read_pool(write_pool(pool, tmp_path / f"again{ending}"), name=pool.name).pool == pool
    assert list(tmp_path.glob(".*")) == []


def test_a_failed_write_leaves_neither_half_file_nor_traceback(tmp_path: Path) -> None:
    pool = read_pool(write_jsonl(tmp_path / "pool.jsonl", CANONICAL)).pool
    with pytest.raises(PoolError, match="unknown ending"):
        write_pool(pool, tmp_path / "pool.txt")
    (tmp_path / "file").write_text("x")
    with pytest.raises(PoolError, match="cannot be written"):
        write_rejects([], tmp_path / "file" / "rejects.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "pool.jsonl"]


def test_a_write_that_stops_half_way_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "kept.jsonl"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(target)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.jsonl"]
    assert target.read_text() == "old"


def write_half(target: Path) -> None:
    with replaced(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
