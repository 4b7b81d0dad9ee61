"""A model as a second rater: all or nothing, apart from people's answers, and on no screen before theirs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from curation.backtest.arena import BacktestError
from curation.backtest.run import imported_answers
from curation.batch.folder import read_batch
from curation.cli.app import main
from curation.errors import CurationError, ExportError, StoreError
from curation.exchange.receive import import_labels, label_report
from curation.exchange.second_rater import estimate, judge_cache, rate
from curation.exchange.send import export_batch, export_trl
from curation.insight.judged import second_raters
from curation.insight.rater_agreement import gwet_ac1
from curation.pool.labels import JUDGE, SETTLED, Label
from curation.pool.schema import prompt_text
from curation.review.store.store import Store
from tests.desk.endpoint import Endpoint
from tests.desk.rated import MODEL, answered, judge
from tests.desk.viewing import contents, files_of


def longer(record: Any) -> str:
    """What the endpoint says: the longer answer."""
    a, b = len(record["response_a"]), len(record["response_b"])
    return "a" if a > b else "b" if b > a else "tie"


class After(list):  # type: ignore[type-arg]
    """Failures of a server that answers so many requests first."""

    def __init__(self, endpoint: Endpoint, requests: int, status: int) -> None:
        super().__init__([status] * 99)
        self.endpoint, self.requests = endpoint, len(endpoint.seen) + requests

    def __bool__(self) -> bool:
        return len(self.endpoint.seen) > self.requests


# Asking -----------------------------------------------------------------------------------------------------------------


def test_an_estimate_sends_and_writes_nothing(
    made: dict[str, Any], store: Store, endpoint: Endpoint, tmp_path: Path
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    before, files = contents(store.place), files_of(tmp_path)
    told = estimate(made["batch"], judge(endpoint, prices=(1.0, 10.0)), name=MODEL, store=store)
    assert (told["pairs"], told["kept"], told["requests"], told["cached"]) == (
        len(batch.records), 0, 2 * len(batch.records), 0
    )  # fmt: skip
    written = 4 * told["requests"]
    assert told["cost"] == pytest.approx(((told["tokens"] - written) + written * 10.0) / 1e6)
    assert estimate(made["batch"], judge(endpoint), name=MODEL, store=store)["cost"] is None
    assert endpoint.seen == []
    assert contents(store.place) == before
    assert files_of(tmp_path) == files


def test_both_orders_are_asked_and_the_answers_are_the_models_own(
    made: dict[str, Any], store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("CURATION_JUDGE_KEY", "s3cret")
    batch = read_batch(made["batch"])
    told = rate(made["batch"], judge(endpoint, prices=(1.0, 1.0)), name=MODEL, who="ana", store=store)
    assert (told["pairs"], told["new"], told["requests"]) == (
        len(batch.records),
        len(batch.records),
        len(endpoint.seen),
    )
    texts = {body["messages"][1]["content"] for body in endpoint.seen}
    for record in batch.records:
        prompt, a, b = prompt_text(record["prompt"]), record["response_a"], record["response_b"]
        for first, second in ((a, b), (b, a)):
            assert f"Conversation:\n{prompt}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}" in texts
    labels = store.labels(batch.batch_id)
    assert labels == [Label(r["pair_id"], longer(r), JUDGE + MODEL, "a", 1, None) for r in batch.records]  # type: ignore[arg-type]
    (kept,) = store.imports(batch.batch_id)
    assert (kept.format, kept.who, kept.file) == ("judge", "ana", f"{MODEL} at {judge(endpoint).host}")
    assert kept.counts["model"] == MODEL
    assert kept.counts["host"] == endpoint.url.split("/")[2]
    assert kept.counts["requests"] == 2 * len(batch.records)
    assert kept.counts["cost"] > 0
    assert "s3cret" not in json.dumps(contents(store.place), default=str)
    assert endpoint.keys[0] == "Bearer s3cret"
    assert store.check_log(batch.batch_id) == []


def test_a_model_that_always_names_the_first_answers_a_tie(
    made: dict[str, Any], store: Store, endpoint: Endpoint
) -> None:  # fmt: skip
    endpoint.answer = "A"
    rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)
    assert {label.outcome for label in store.labels(read_batch(made["batch"]).batch_id)} == {"tie"}


def test_only_pairs_that_go_out_are_asked(made: dict[str, Any], store: Store, endpoint: Endpoint) -> None:
    batch = read_batch(made["batch"])
    keys = [record["pair_id"] for record in batch.records]
    store.decide(batch.batch_id, keys[0], "reject", who="ana", reason="other")
    assert rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)["new"] == len(keys) - 1
    assert keys[0] not in {label.pair_id for label in store.labels(batch.batch_id)}
    store.decide(batch.batch_id, keys[0], "approve", who="ana")
    asked = len(endpoint.seen)
    told = rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)
    assert (told["new"], told["kept"], len(endpoint.seen) - asked) == (1, len(keys) - 1, 2)
    judge_cache().unlink()  # what is recorded is not paid for again, cached or not
    before = contents(store.place)
    assert rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)["kept"] == len(keys)
    assert len(endpoint.seen) - asked == 2
    assert contents(store.place) == before
    assert rate(made["batch"], judge(endpoint), name="other", who="ana", store=store)["new"] == len(keys)


def test_nothing_is_asked_where_nothing_is_approved(
    made: dict[str, Any], store: Store, endpoint: Endpoint
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "clear", who="ana")
    for call in (estimate, lambda *given, **named: rate(*given, who="ana", **named)):
        with pytest.raises(ExportError, match=r"no pair of batch .* is approved \(\d+ undecided\)"):
            call(made["batch"], judge(endpoint), name=MODEL, store=store)
    assert endpoint.seen == []


@pytest.mark.parametrize("status", [500, 401, 413])
def test_a_failure_records_nothing_and_the_next_run_goes_on(
    made: dict[str, Any], store: Store, endpoint: Endpoint, status: int
) -> None:  # fmt: skip
    batch, done = read_batch(made["batch"]), 7
    before = contents(store.place)
    endpoint.failures = After(endpoint, done, status)
    with pytest.raises(CurationError, match=f"status {status}"):
        rate(made["batch"], judge(endpoint, retries=0), name=MODEL, who="ana", store=store)
    assert contents(store.place) == before
    endpoint.failures, sent = [], len(endpoint.seen)
    assert estimate(made["batch"], judge(endpoint), name=MODEL, store=store)["cached"] == done
    told = rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)
    assert (told["cached"], len(endpoint.seen) - sent) == (done, 2 * len(batch.records) - done)
    assert {x.pair_id: x.outcome for x in store.labels(batch.batch_id)} == {
        r["pair_id"]: longer(r) for r in batch.records
    }


def test_who_may_not_sends_nothing_and_a_role_lost_meanwhile_records_nothing(
    made: dict[str, Any], store: Store, endpoint: Endpoint
) -> None:  # fmt: skip
    for name, role in (("ada", "admin"), ("bea", "reviewer"), ("vic", "viewer")):
        store.set_role(name, role, who="ada")
    for who in ("vic", "nobody named"):
        with pytest.raises(StoreError, match="may not do this"):
            rate(made["batch"], judge(endpoint), name=MODEL, who=who, store=store)
    assert endpoint.seen == []
    dismissed = judge(endpoint, told=lambda _: store.set_role("bea", "viewer", who="ada"))
    with pytest.raises(StoreError, match="may not do this"):
        rate(made["batch"], dismissed, name=MODEL, who="bea", store=store)
    assert len(endpoint.seen) == 2 * len(read_batch(made["batch"]).records)
    assert store.labels(read_batch(made["batch"]).batch_id) == []


def test_texts_that_were_changed_are_not_sent(
    made: dict[str, Any], store: Store, endpoint: Endpoint, tmp_path: Path
) -> None:  # fmt: skip
    import shutil

    copy = Path(shutil.copytree(made["batch"], tmp_path / "copy"))
    first, *rest = (copy / "batch.jsonl").read_text().splitlines()
    (copy / "batch.jsonl").write_text("\n".join([json.dumps({**json.loads(first), "response_a": "x"}), *rest]) + "\n")
    with pytest.raises(CurationError, match="as it was recorded"):
        rate(copy, judge(endpoint), name=MODEL, who="ana", store=store)
    assert endpoint.seen == []


@pytest.mark.parametrize("name", ["", " m", "m\n", "m" * 201, "m\ud800"])
def test_a_model_needs_a_name(made: dict[str, Any], store: Store, endpoint: Endpoint, name: str) -> None:
    with pytest.raises(StoreError, match="--judge-model"):
        rate(made["batch"], judge(endpoint), name=name, who="ana", store=store)
    assert endpoint.seen == []


# Figures ----------------------------------------------------------------------------------------------------------------


def test_the_figures_are_those_worked_out_by_hand() -> None:
    def says(pair: str, who: str, outcome: str, copy: int = 1) -> Label:
        return Label(pair, outcome, who, "a", copy, None)  # type: ignore[arg-type]

    model = JUDGE + MODEL
    labels = [
        says("p1", "ana", "a"), says("p1", model, "a"),  # the same
        says("p2", "ana", "a"), says("p2", "ben", "b"), says("p2", model, "b"),  # one opposite, one the same
        says("p3", "ana", "b"), says("p3", model, "tie"),  # a side against a tie
        says("p4", "ana", "tie"), says("p4", model, "tie"),  # tied both
        says("p5", "ana", "tie"), says("p5", model, "a"),  # a tie against a side
        says("p6", "ana", "b"), says("p6", "ana", "a", copy=2), says("p6", model, "a"),  # opposite; the first counts
        says("p7", "ana", "skip"), says("p7", model, "a"),  # skipped: not answered
        says("p8", model, "a"),  # answered by nobody
        says("p9", SETTLED, "a"), says("p9", model, "b"),  # settled is not answered
        says("p8", JUDGE + "silent", "b"),
    ]  # fmt: skip
    (found,) = second_raters(labels)
    assert (found.model, found.pairs, found.answers) == (MODEL, 6, 7)
    assert (found.decided, found.same, found.opposite, found.model_ties) == (5, 2, 2, 1)
    assert (found.people_ties, found.tied) == (2, 1)
    z, n, p = 1.959963984540054, 5, 2 / 5
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert found.agreement == pytest.approx(p)
    assert found.interval == pytest.approx(((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)))
    observed = 3 / 7  # p1, ben on p2, p4
    shares = {"a": 5 / 14, "b": 5 / 14, "tie": 4 / 14}  # of the fourteen answers
    chance = sum(share * (1 - share) for share in shares.values()) / 2
    assert found.ac1 == pytest.approx((observed - chance) / (1 - chance))
    assert found.ac1 == pytest.approx(
        gwet_ac1([["a", "a"], ["a", "b"], ["b", "b"], ["b", "tie"], ["tie", "tie"], ["tie", "a"], ["b", "a"]])
    )
    told = [(one["pair_id"], one["opposed"], one["outcome"]) for one in found.disagreements]
    assert told == [("p6", True, "a"), ("p2", True, "b"), ("p3", False, "tie"), ("p5", False, "a")]
    assert [answer["annotator"] for answer in found.disagreements[1]["answers"]] == ["ana", "ben"]
    assert "takes the same in 40%" in found.sentence()
    (tied,) = second_raters([says("p", "ana", "tie"), says("p", model, "a")])
    assert (tied.agreement, tied.interval, tied.decided) == (None, None, 0)
    assert "nobody chose a side" in tied.sentence()


# Never shown before people answered -------------------------------------------------------------------------------------


def everything(made: dict[str, Any], store: Store, folder: Path, capsys: Any) -> dict[str, Any]:
    """What reports, commands and exports say of a batch."""
    folder.mkdir()
    batch = read_batch(made["batch"])
    said: dict[str, Any] = {"report": label_report(batch, store)}
    capsys.readouterr()
    for more in ([], ["--conflicts"], ["--conflicts", "--json"]):
        assert main(["labels", str(batch.path), *more]) == 0
        said[f"labels {more}"] = capsys.readouterr().out
    for to in ("label-studio", "argilla", "csv", "jsonl"):
        out = folder / f"o-{to}.{'json' if to in ('label-studio', 'argilla') else to}"
        export_batch(made["batch"], to=to, out=out, who="ana", store=store)  # type: ignore[arg-type]
    try:
        export_trl(made["batch"], folder / "t.jsonl", ties=True, card=True, who="ana", store=store)
        said["backtest"] = [answer[:3] for answer in imported_answers([made["batch"]])]
    except (ExportError, BacktestError) as error:
        said["none"] = str(error)
    return {**said, **{path.name: path.read_bytes() for path in sorted(folder.iterdir())}}


def test_a_models_answer_is_nowhere_before_a_person_has_answered_the_pair(
    made: dict[str, Any], store: Store, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{store.place}")
    batch = read_batch(made["batch"])
    keys = [record["pair_id"] for record in batch.records]
    before = everything(made, store, tmp_path / "1", capsys)
    told = rate(made["batch"], judge(endpoint), name=MODEL, who="ana", store=store)
    assert everything(made, store, tmp_path / "2", capsys) == before
    assert not [word for word in ("tie", "outcome", "ties", "a", "b") if word in told]
    seen, unseen = set(keys[:5]), set(keys[5:])
    brought = import_labels(
        made["batch"], answered(made, store, tmp_path, seen), who="ana", store=store
    )  # what a person answered is told of, and nothing else
    (rater,) = brought["second_raters"]
    assert rater["pairs"] == len(seen)
    assert {one["pair_id"] for one in rater["disagreements"]} <= seen
    assert not [key for key in unseen if key in json.dumps(brought)]
    after = everything(made, store, tmp_path / "3", capsys)
    lines = after["labels ['--conflicts']"]
    assert rater["sentence"] in lines
    assert not [key for key in unseen if key in lines or key in after["labels ['--conflicts', '--json']"]]
    for name, content in after.items():
        assert JUDGE not in (content.decode() if isinstance(content, bytes) else json.dumps(content)), name
    rows = [json.loads(line) for line in after["t.jsonl"].decode().splitlines()]
    assert {row["pair_id"] for row in rows} <= seen
    assert all(
        row["weight"] == next(r["copies"] for r in batch.records if r["pair_id"] == row["pair_id"]) for row in rows
    )
