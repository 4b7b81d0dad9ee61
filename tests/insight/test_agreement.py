"""Agreement beyond chance, between people apart from one person with herself, and what each annotator's answers say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.batch.folder import read_batch
from curation.cli.app import main
from curation.exchange.receive import import_labels, label_report
from curation.insight.agreement import label_quality
from curation.insight.annotators import between, by_annotator, conflicts, within
from curation.insight.rater_agreement import agreement_of, gwet_ac1, krippendorff_alpha, pairwise_agreement
from curation.pool.labels import Label
from curation.review.store.store import Store
from tests.desk.labels import exported, studio, write
from tests.desk.sign_off_page import approved_sign_off


def say(pair: str, who: str, outcome: str, *, left: str = "a", copy: int = 1, **more: Any) -> Label:
    return Label(pair, outcome, who, left, copy, more.pop("seconds", None), **more)  # type: ignore[arg-type]


# Coefficients -------------------------------------------------------------------------------------------------------


def test_ac1_is_its_formula_worked_by_hand() -> None:
    """118 both a, 5 and 2 apart, none both b: pa 118/125, share of a 243/250, pe 2 x 0.972 x 0.028."""
    units = [["a", "a"]] * 118 + [["a", "b"]] * 5 + [["b", "a"]] * 2
    pa, share = 118 / 125, 243 / 250
    pe = 2 * share * (1 - share)
    assert gwet_ac1(units) == pytest.approx((pa - pe) / (1 - pe))
    assert gwet_ac1(units) == pytest.approx(0.9408, abs=5e-5)
    assert krippendorff_alpha(units) < 0  # type: ignore[operator]  # the paradox that AC1 was made for


def test_ac1_of_three_values_and_more_than_two_answers_is_its_formula() -> None:
    units = [["a", "a", "b"], ["tie", "tie"], ["b", "b", "b"], ["a"]]
    pa = np.mean([1 / 3, 1, 1])
    shares = {"a": (2 / 3) / 3, "b": (1 / 3 + 1) / 3, "tie": 1 / 3}
    pe = sum(p * (1 - p) for p in shares.values()) / 2
    assert gwet_ac1(units) == pytest.approx((pa - pe) / (1 - pe))


def test_where_nothing_is_compared_nothing_is_said_and_one_value_has_no_alpha() -> None:
    assert agreement_of([["a"], []]) is None
    assert (gwet_ac1([["a"]]), pairwise_agreement([["a"]]), krippendorff_alpha([["a"]])) == (None, None, None)
    found = agreement_of([["a", "a"]] * 5)
    assert found is not None
    assert (found.alpha, found.alpha_interval, found.ac1, found.agreement) == (None, None, 1.0, 1.0)
    assert found.ac1_interval == found.agreement_interval == (1.0, 1.0)


def test_alpha_is_evalicas() -> None:
    import evalica

    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, (2, 50)).astype(float)
    codes[1, :30] = codes[0, :30]
    codes[1, 45:] = np.nan
    units = [["a b tie".split()[int(v)] for v in column if not np.isnan(v)] for column in codes.T]
    expected = evalica.alpha(pd.DataFrame(codes)).alpha
    assert krippendorff_alpha(units) == pytest.approx(expected)
    found = agreement_of(units)
    assert found is not None
    assert found.alpha == pytest.approx(expected)
    assert found.pairs == 45


def test_intervals_hold_the_figure_narrow_with_pairs_and_are_the_same_each_time() -> None:
    rng = np.random.default_rng(0)

    def units(n: int) -> list[list[str]]:
        truth = rng.integers(0, 2, n)
        return [["ab"[t], "ab"[t] if rng.random() < 0.8 else "ba"[t]] for t in truth]

    widths = []
    for n in (40, 4000):
        given = units(n)
        found = agreement_of(given)
        assert found == agreement_of(given)
        assert found is not None
        assert found.alpha is not None
        assert found.alpha_interval is not None
        for value, (low, high) in (
            (found.agreement, found.agreement_interval), (found.alpha, found.alpha_interval), (found.ac1, found.ac1_interval)
        ):  # fmt: skip
            assert low < value < high
        widths.append(found.agreement_interval[1] - found.agreement_interval[0])
        # Of a mean of n zeros and ones: 2 x 1.96 standard errors.
        assert widths[-1] == pytest.approx(3.92 * np.sqrt(found.agreement * (1 - found.agreement) / n), rel=0.15)
    assert widths[1] < widths[0] / 5


# Whose agreement ----------------------------------------------------------------------------------------------------


def test_people_with_each_other_and_one_with_herself_are_apart() -> None:
    answers = [
        # Ana says the same twice, and Ben the opposite of her, on every pair.
        *(say(f"p{n}", "ana", "a", copy=copy) for n in range(6) for copy in (1, 2)),
        *(say(f"p{n}", "ben", "b", copy=3) for n in range(6)),
    ]
    found = label_quality(answers)
    assert found.agreement == pytest.approx(1 / 3)  # all answers alike: one of three pairs of answers agrees
    assert found.between is not None
    assert found.within is not None
    assert (found.between.pairs, found.between.answers, found.between.agreement) == (6, 12, 0.0)
    assert (found.within.pairs, found.within.answers, found.within.agreement) == (6, 12, 1.0)
    assert found.between.alpha is not None
    assert found.between.alpha < 0
    words = " ".join(found.sentences())
    assert "Between different people: on 6 pairs, agreement 0% (0% to 0%), Krippendorff's alpha -" in words
    assert "One person with herself: on 6 pairs, agreement 100%" in words
    assert "Gwet's AC1" in words


def test_of_a_person_who_answered_twice_her_first_answer_is_compared_with_others() -> None:
    answers = [say("p", "ana", "b", copy=2), say("p", "ben", "a"), say("p", "ana", "a", copy=1)]
    assert [[a.outcome for a in unit] for unit in between(answers)] == [["a", "a"]]
    assert [{a.outcome for a in unit} for unit in within(answers)] == [{"a", "b"}]


def test_one_person_alone_is_no_agreement_between_people() -> None:
    found = label_quality([say("p", "ana", "a"), say("p", "ana", "a", copy=2)])
    assert found.between is None
    assert found.within is not None
    assert "No pair was answered by two different people" in " ".join(found.sentences())


def test_graded_answers_are_compared_on_their_steps() -> None:
    answers = [
        say(f"p{n}", who, "a" if n % 2 else "b", strength=2 if who == "ana" or n < 4 else 1)
        for n in range(8)
        for who in ("ana", "ben")
    ]
    found = label_quality(answers)
    assert found.between is not None
    assert (found.between.metric, found.between.agreement) == ("ordinal", 1.0)
    assert found.between.alpha is not None
    assert 0.5 < found.between.alpha < 1


def test_each_annotators_figures() -> None:
    answers = [
        *(say(f"p{n}", "ana", "a", left="a", seconds=10.0 + n) for n in range(4)),  # always left
        say("p0", "ben", "a", left="b"), say("p1", "ben", "b", left="b", seconds=60.0), say("p2", "ben", "tie"),
        say("p3", "ben", "skip"),
        say("p0", "ana", "b", left="b", copy=2),
    ]  # fmt: skip
    ana, ben = by_annotator(answers)
    assert (ana.annotator, ana.answers, ana.pairs, ana.left_share, ana.seconds) == ("ana", 5, 4, 1.0, 11.5)
    assert (ana.compared, ana.with_others, ana.again, ana.with_herself) == (3, pytest.approx(1 / 3), 1, 0.0)
    assert (ben.left_share, ben.tie_rate, ben.skip_rate, ben.seconds) == (0.5, pytest.approx(1 / 3), 0.25, 60.0)
    assert (ben.compared, ben.again, ben.with_herself) == (3, 0, None)
    assert ana.left_interval is not None
    assert ana.left_interval[1] == pytest.approx(1.0)


# Conflicts ----------------------------------------------------------------------------------------------------------


def test_conflicts_are_pairs_on_which_people_differ_opposite_sides_first() -> None:
    answers = [
        say("agreed", "ana", "a"), say("agreed", "ben", "a"),
        say("half", "ana", "a"), say("half", "ben", "tie"),
        say("opposed", "ben", "b"), say("opposed", "ana", "a"),
        say("alone", "ana", "a"), say("alone", "ana", "b", copy=2),
        say("skipped", "ana", "a"), say("skipped", "ben", "skip"),
    ]  # fmt: skip
    found = conflicts(answers)
    assert [(c["pair_id"], c["opposed"]) for c in found] == [("opposed", True), ("half", False)]
    assert [(a["annotator"], a["outcome"]) for a in found[0]["answers"]] == [("ana", "a"), ("ben", "b")]


def disagreed(made: dict[str, Any], store: Store, tmp_path: Path) -> str:
    """Answers of two people to everything, who differ on one pair: its id."""
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    eve, mia = (studio(made, tasks, who=who) for who in ("eve@x", "mia@x"))
    odd = next(
        n
        for n, t in enumerate(mia)
        if t["data"]["copy"] == 1 and t["annotations"][0]["result"][0]["value"]["choices"] != ["tie"]
    )
    value = mia[odd]["annotations"][0]["result"][0]["value"]
    value["choices"] = ["right" if value["choices"] == ["left"] else "left"]
    for name, answers in (("eve", eve), ("mia", mia)):
        for n, task in enumerate(answers):
            task["annotations"][0]["id"] = f"{name}{n}"
        import_labels(made["batch"], write(tmp_path / f"{name}.json", answers), store=store)
    return str(tasks[odd]["data"]["pair_id"])


def test_the_report_names_conflicts_and_is_plain_json(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    pair = disagreed(made, store, tmp_path)
    told = json.loads(json.dumps(label_report(read_batch(made["batch"]), store)))
    assert [c["pair_id"] for c in told["conflicts"]] == [pair]
    assert {one["annotator"] for one in told["quality"]["by_annotator"]} == {"eve@x", "mia@x"}
    assert told["quality"]["between"]["pairs"] == len(read_batch(made["batch"]).records)


def test_the_command_line_tells_labels_and_conflicts_and_writes_nothing(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:  # fmt: skip
    from curation.review.register import record_batch
    from curation.review.store.store import open_store

    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    assert main(["labels", str(made["batch"])]) == 0
    assert "no labels" in capsys.readouterr().out
    batch, opened = read_batch(made["batch"]), open_store()
    record_batch(opened, batch, who="ana")
    opened.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    pair = disagreed(made, opened, tmp_path)
    events = len(opened.events())
    assert main(["labels", str(made["batch"])]) == 0
    told = capsys.readouterr().out
    assert re.search(r"eve@x: \d+ answers", told)
    assert pair not in told
    assert main(["labels", str(made["batch"]), "--conflicts"]) == 0
    told = capsys.readouterr().out
    assert f"{pair}: eve@x " in told
    assert main(["labels", str(made["batch"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["conflicts"][0]["pair_id"] == pair
    assert len(opened.events()) == events
    opened.close()


# The page -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_gives_rows_to_people_and_shows_their_figures_and_conflicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, opened, batch = approved_sign_off(tmp_path, monkeypatch)
    page.selectbox(key="export_format").select("JSON Lines")
    page.text_input(key="export_annotators").set_value("ana, ben=3")
    page.run()
    page.button(key="export").click().run()
    assert not page.exception
    shares = {}
    for name in ("ana", "ben"):
        (out,) = (tmp_path / "exports").glob(f"*.for-{name}.jsonl")
        shares[name] = [json.loads(line) for line in out.read_text().splitlines()]
    assert [len(shares[name]) for name in ("ana", "ben")] == [9, 3]
    for row in shares["ana"]:
        row["preference"] = "left"
    # Ben answers his own, and one of Ana's, the other way round.
    shares["ben"].append({**shares["ana"][0], "annotator": "ben"})
    for row in shares["ben"]:
        row["preference"] = "right"
    for name, rows in shares.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        import_labels(batch.path, tmp_path / f"{name}.jsonl", who="ana", store=opened)
    opened.close()
    page.run()
    assert not page.exception
    (people,) = (frame.value for frame in page.dataframe if "left wins" in frame.value)
    assert people.set_index("annotator")["left wins"].to_dict() == {"ana": 1.0, "ben": 0.0}
    (found,) = (frame.value for frame in page.dataframe if "differ" in frame.value)
    assert found["pair"].tolist() == [shares["ana"][0]["pair_id"]]
    assert found["differ"].tolist() == ["opposite sides"]
