"""A pool format is added by one file: detected, read, named in messages and shown, with nothing else touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.errors import PoolError
from curation.pool.readers.base import READERS, reader_of
from curation.pool.readers.read import detect_format, read_pool
from tests.desk.plugs import added, answer, command

APP = Path(__file__).resolve().parents[2] / "app.py"
FORUM = '''
from curation.pool.readers.base import Reader
from curation.pool.readers.common import collect_row, validated
from curation.pool.schema import CanonicalRow


class Forum(Reader):
    """A question with the posts below it."""

    name, rank, turn, says = "forum", 55, 5, "topic, posts"

    def fits(self, data):
        return {"topic", "posts"} <= data.keys()

    def read(self, rows, collected, about):
        for row in collected.readable(rows):
            collect_row(collected, row, self.parsed)

    def parsed(self, data):
        posts = [{"text": post} for post in data["posts"]]
        return validated(CanonicalRow, {"prompt": data["topic"], "responses": posts})


PLUG = Forum()
'''


@pytest.fixture
def plugs(tmp_path: Path) -> Path:
    folder = tmp_path / "plugs"
    folder.mkdir()
    (folder / "forum.py").write_text(FORUM)
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pools" / "forum.jsonl"
    path.parent.mkdir()
    rows = [{"topic": "why?", "posts": ["because", "who knows"]}, {"topic": "when?", "posts": ["alone"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_reader_that_is_one_file_detects_and_reads_and_is_gone_again(plugs: Path, pool: Path) -> None:
    with added(READERS, plugs):
        found = read_pool(pool)
        assert (found.format, found.rows, found.rows_used) == ("forum", 2, 1)
        assert [response.text for response in found.pool.prompts[0].responses] == ["because", "who knows"]
        assert "at least two are needed" in found.rejects[0].reason
        assert read_pool(pool, format="forum").pool.fingerprint == found.pool.fingerprint
    with pytest.raises(PoolError, match="unknown format with the columns topic, posts"):
        detect_format(pool)


def test_check_reads_it_and_messages_name_it_in_its_place(plugs: Path, pool: Path) -> None:
    pool.write_text(pool.read_text().splitlines()[0] + "\n")
    assert answer(READERS, plugs, "check", pool)["format"] == "forum"
    odd = pool.with_name("odd.jsonl")
    odd.write_text('{"colour": "red"}\n')
    told = command(READERS, plugs, "check", odd, status=1)
    assert "distilabel (instruction, generations), forum (topic, posts), pairs (" in told


def test_the_pool_page_reads_it(plugs: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CURATION_POOLS", str(pool.parent))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # the simulated browser has no address
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with added(READERS, plugs):
        page = AppTest.from_file(str(APP), default_timeout=300)
        page.query_params["pool"] = str(pool)
        page.run()
        assert not page.exception
        assert [told.value for told in page.caption if told.value.startswith("Read as forum.")]


def test_every_reader_is_asked_in_a_turn_of_its_own_and_says_what_tells_it() -> None:
    assert len({reader.turn for reader in READERS}) == len(READERS.names())
    assert len({reader.says for reader in READERS}) == len(READERS.names())


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"instruction": "q", "completions": [], "chosen": "a", "rejected": "b"}, "ultrafeedback"),
        ({"prompt": "q", "generations": [], "response": "a"}, "flat"),  # distilabel only where nothing else fits
        ({"prompt": "q", "generations": []}, "distilabel"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}, "hh"),
        ({"prompt": "q", "response_1": "a", "response_2": "b", "answers": [{"text": "c"}]}, "pairs"),
        ({"colour": "red"}, None),
    ],
)
def test_a_row_of_two_formats_is_of_the_one_that_is_asked_first(row: dict, name: str | None) -> None:
    found = reader_of(row)
    assert (found and found.name) == name
