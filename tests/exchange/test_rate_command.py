"""The command `rate`, and where a model shows beside people."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.cli.app import main
from curation.errors import CurationError
from curation.exchange.receive import import_labels, label_report
from curation.exchange.second_rater import judge_cache, rate
from curation.pool.labels import Label
from curation.review.store.store import Store
from tests.desk.endpoint import Endpoint
from tests.desk.rated import MODEL, answered, judge
from tests.desk.sign_off_page import approved_sign_off
from tests.desk.viewing import contents


def words_of(page: Any) -> str:
    """Everything a page shows, but for the trail's table of acts and the lists of all pairs."""
    shown = [
        str(part.value) for kind in ("markdown", "caption", "text", "info", "metric") for part in getattr(page, kind)
    ]
    frames = [part.value for part in page.dataframe]
    shown += [frame.to_csv() for frame in frames if not {"hash", "pair_id", "pair"} & set(frame.columns)]
    return "\n".join([*shown, *(part.label for part in page.expander)])


def test_sign_off_and_review_show_a_model_only_beside_people(
    endpoint: Endpoint, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    page, opened, batch = approved_sign_off(home, monkeypatch)
    before = {name: words_of(page.switch_page(f"pages/{name}.py").run()) for name in ("review", "signoff")}
    endpoint.answer = "A"  # ties throughout
    rate(batch.path, judge(endpoint), name=MODEL, who="ana", store=opened)
    for name, words in before.items():
        assert words_of(page.switch_page(f"pages/{name}.py").run()) == words
    keys = [record["pair_id"] for record in batch.records]
    labels = [Label(key, "a", "cem", "a", 1, 9.0) for key in keys[:3]]
    opened.record_labels(batch.batch_id, labels, file="x", sha256="", format="csv", counts={}, who="ana")
    words = words_of(page.run())
    assert "and none in 3" in words.replace("\\", "")
    assert "**1 of 3**" in words
    assert not [key for key in keys[3:] if key in words]
    one = sorted(keys[:3])
    for place, key in enumerate(one):
        assert f"**{place + 1} of 3**: a side and a tie · pair {key}" in words
        assert "A tie for the model some\\-model" in words
        assert "chosen by cem" in words
        if place < 2:
            words = words_of(page.button(key="rater_after").click().run())
    assert page.button(key="rater_after").disabled
    assert not page.exception
    opened.close()


# The command ------------------------------------------------------------------------------------------------------------


def test_the_command_estimates_rates_and_goes_on(
    made: dict[str, Any], store: Store, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{store.place}")
    pairs = len(read_batch(made["batch"]).records)
    asked = ["rate", str(made["batch"]), "--judge", endpoint.url, "--judge-model", MODEL, "--as", "ana"]
    assert main([*asked, "--estimate", "--judge-prices", "1,2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["cached"]) == (2 * pairs, 0)
    assert told["cost"] > 0
    assert main([*asked, "--estimate"]) == 0
    assert "price unknown. Nothing was sent." in capsys.readouterr().out
    assert endpoint.seen == []
    assert main(asked) == 0
    said = capsys.readouterr()
    assert f"{pairs} pairs answered by {MODEL}" in said.out
    assert "judging: " in said.err
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == pairs
    assert len(endpoint.seen) == 2 * pairs
    seen = {record["pair_id"] for record in read_batch(made["batch"]).records}
    import_labels(made["batch"], answered(made, store, tmp_path, seen), who="ana", store=store)
    assert main(["labels", str(made["batch"])]) == 0
    assert f"{MODEL} beside people, on the {pairs} pairs" in capsys.readouterr().out
    assert main(["labels", str(made["batch"]), "--conflicts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if f": {MODEL} " in line]
    (rater,) = label_report(read_batch(made["batch"]), store)["second_raters"]
    assert [line.split(":")[0].strip() for line in named] == [one["pair_id"] for one in rater["disagreements"]]


@pytest.mark.parametrize(
    ("more", "failures", "words"),
    [
        ([], [401], "refuses the key"),
        ([], [404], "refuses the request (status 404)"),
        (["--judge-requests", "3"], [], "raise --judge-requests"),
        (["--judge-cost", "1e-9", "--judge-prices", "1,1"], [], "raise --judge-cost"),
        (["--judge", "https://ana:s3cret@example.org/v1"], [], "holds no name, key or question"),
        (["--judge", "nowhere"], [], "is no address"),
    ],
)
def test_errors_of_the_judge_are_sentences(
    made: dict[str, Any], store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: Any,
    more: list[str], failures: list[int], words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{store.place}")
    endpoint.failures = list(failures)
    before = contents(store.place)
    asked = ["rate", str(made["batch"]), "--judge", endpoint.url, "--judge-model", MODEL, "--as", "ana"]
    assert main([*asked, *more]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "s3cret" not in said
    assert "Traceback" not in said
    assert contents(store.place) == before


def test_kept_answers_that_are_no_database_are_a_sentence(
    made: dict[str, Any], store: Store, endpoint: Endpoint, capsys: Any
) -> None:  # fmt: skip
    judge_cache().parent.mkdir(parents=True)
    judge_cache().write_text("not a database, and longer than its header would be" * 50)
    with pytest.raises(CurationError, match=r"judge\.sqlite cannot be used \(file is not a database\)"):
        rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)
    assert endpoint.seen == []


def test_a_kept_answer_that_another_run_holds_up_is_a_sentence(
    made: dict[str, Any], store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: real(path, **{**more, "timeout": 0.1}))
    judge_cache().parent.mkdir(parents=True)
    other = real(judge_cache(), isolation_level=None)
    other.execute("CREATE TABLE verdicts (key TEXT PRIMARY KEY, verdict TEXT)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CurationError, match="database is locked"):
        rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)
    other.close()
    assert store.labels(read_batch(made["batch"]).batch_id) == []
