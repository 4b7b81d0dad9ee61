"""Addresses out of range and errors nobody foresaw: the page says a sentence and stays usable."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.dashboard.places import allowed_path, pool_path
from curation.dashboard.view import View, read_query, view_from_query
from curation.errors import PoolError
from curation.pool.pair_lists import read_pair_list
from curation.pool.schema import Pool, Prompt, Response
from curation.setting_rules import LABELS_MOST, OVERLAP_MOST, SEED_MOST
from curation.system.bug_log import errors_log, sentence

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.setenv("CURATION_POOLS", str(tmp_path / "pools"))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # AppTest has no address to show
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(ROOT)
    (tmp_path / "pools").mkdir()
    return tmp_path


def opened(page: str = "", **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    return app.switch_page(f"pages/{page}.py").run() if page else app


def words(app: AppTest) -> str:
    return " ".join(str(box.value) for box in (*app.error, *app.warning))


OUT_OF_RANGE = [
    ("budget", "9" * 300), ("budget", "9" * 400), ("budget", "-1"), ("budget", str(LABELS_MOST + 1)), ("seed", "9" * 40),
    ("seed", str(SEED_MOST + 1)), ("per_prompt", "9" * 30), ("per_prompt", "-3"), ("ridge", "1e308"), ("ridge", "inf"),
    ("ridge", "0"), ("ridge", "-1"), ("overlap", "5"), ("overlap", "-1"), ("overlap", "inf"), ("overlap", "1e308"),
    ("overlap", "0.51"), ("overlap", "nan"), ("temperature", "1e308"), ("temperature", "1e-320"), ("dim", "9" * 30),
    ("max_length_difference", "1e308"), ("generator_share", "2"), ("prior_power", "7"), ("max_labels", "-inf"),
    ("spread", "wide"), ("normalize", "maybe"), ("quotas", "a=5..1"), ("pins", "\x00"), ("cost", "a\x00b"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_in_an_address_is_told_and_left_out(name: str, value: str) -> None:
    view, refused = read_query({name: value})
    assert getattr(view, name) == getattr(View(), name)
    assert len(refused) == 1
    assert name in refused[0]
    assert len(refused[0]) < 400


def test_an_address_keeps_every_digit() -> None:
    view = View(ridge=0.1234567, overlap=0.123456789, temperature=1 / 3, max_length_difference=0.30000001)
    assert view_from_query(view.to_query()) == view
    assert View(ridge=30.0).to_query()["ridge"] == "30"


@pytest.mark.parametrize(
    "name", ["\x00", "~nosuchuser/x", "a" * 5000, "../../etc/passwd", "/dev/zero", "/proc/self/mem", "."]
)
def test_no_name_of_a_file_is_more_than_a_sentence(home: Path, name: str) -> None:
    with pytest.raises(PoolError) as told:
        pool_path(name)
    assert len(str(told.value)) < 400
    assert "\x00" not in str(told.value)


def test_an_address_opens_data_files_only(home: Path) -> None:
    for name in ("logs/errors.log", "pairwright.db", "jobs/a.txt", "pool.arrow"):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
        with pytest.raises(PoolError, match="not opened here"):
            pool_path(str(path))
    with pytest.raises(PoolError, match="not opened here"):
        allowed_path(home / "pairwright.db", (".csv",))


@pytest.mark.parametrize(
    "content",
    ["name,api_key\nbob,TOPSECRET\n", "TOPSECRET\n", "prompt_id,x\nTOPSECRET,1\n", "pair_id\nTOPSECRET\n", 'prompt_id\n"TOPSECRET',
     "prompt_id,response_id\np0,TOPSECRET\n", "prompt_id\np0,TOPSECRET,3\n", "prompt_id\r\rTOPSECRET\x00", "prompt_id\nTOPSECRET\udcff"],
)  # fmt: skip
def test_what_is_wrong_with_pins_is_told_without_what_stands_in_them(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pins.csv"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    pool = Pool((Prompt("p0", "q", (Response("r0", "a"), Response("r1", "b"))),))
    with pytest.raises(PoolError) as told:
        read_pair_list(path, pool)
    assert "SECRET" not in str(told.value)
    assert "pins.csv" in str(told.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        {"overlap": "5", "seed": "9" * 40, "budget": "9" * 400},
        {"ridge": "1e308", "per_prompt": "9" * 30},
        {"pins": "~x", "exclude": "\x00"},
        {"seed": str(SEED_MOST), "overlap": str(OVERLAP_MOST), "budget": "20"},
    ],
)
def test_the_design_page_says_a_sentence_and_keeps_its_controls(home: Path, query: dict[str, str]) -> None:
    first = opened(**query)
    told = words(first)  # on the page that comes first
    app = first.switch_page("pages/design.py").run()
    assert not app.exception
    assert app.number_input, "the controls are there"
    refused = "address asks for" in told or bool(app.error)
    assert refused == (query.get("seed") != str(SEED_MOST)), (told, words(app))


@pytest.mark.parametrize("pool", ["\x00", "~nosuchuser/x"])
def test_a_pool_that_is_none_leaves_the_choice_of_another(home: Path, pool: str) -> None:
    app = opened(pool=pool)
    assert not app.exception
    assert words(app)
    assert any(box.label == "Pool" for box in app.selectbox)


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), KeyError("x")])
def test_whatever_the_library_raises_a_page_says_a_sentence_and_the_log_says_all(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr("curation.pool.checks.pool_report", fails)
    monkeypatch.setattr("curation.dashboard.places.list_pools", fails)
    app = opened()
    assert not app.exception
    told = words(app)
    assert "Traceback" not in told
    assert type(error).__name__ in errors_log().read_text()
    assert len(told) > 20
    if isinstance(error, MemoryError):
        assert "not enough memory" in told


def test_a_log_that_cannot_be_written_takes_nothing_away(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "logs").write_text("a file where the folder should be")
    assert "Unexpected KeyError" in sentence(KeyError("x"), doing="trying")
    assert "cannot be written" in caplog.text
