"""The Design page: presets set the view, length is told, and the criterion's figure never stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from curation.backtest.run import Options, place, run_backtest, write
from curation.backtest.worth import UNTESTED, worth
from curation.batch.folder import read_batch
from curation.batch.guidelines import guidelines_of
from curation.dashboard.view import View
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import PRESETS, DesignSettings, SpaceSettings
from tests.desk.pools import ROOT, demo_pool

FEATURES = demo_pool().with_name("demo.features.parquet")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # AppTest has no address to show
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


def design_page(**query: str) -> Any:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    page.switch_page("pages/design.py").run()
    assert not page.exception
    return page


def view_of(page: Any) -> View:
    return page.session_state["view"]


def preset(page: Any) -> Any:
    return next(group for group in page.button_group if group.proto.label == "Preset")


def test_presets_set_the_view_and_custom_stands_where_none_holds(home):
    page = design_page(budget="12")
    assert preset(page).value == "Default"
    assert [option for option in preset(page).options if option == "custom"] == []
    for name in ("hgm", "0.2.0", "default"):
        preset(page).set_value(PRESETS[name].title).run()
        assert not page.exception
        assert view_of(page).preset == name
        assert view_of(page).budget == 12
        assert preset(page).value == PRESETS[name].title
    page.selectbox[0].set_value("free").run()
    assert view_of(page).spread == "free"
    assert view_of(page).preset is None
    assert preset(page).value == "custom"
    preset(page).set_value("Default").run()
    assert view_of(page) == View(budget=12)


def test_the_ridge_starts_anew_with_its_unit(home):
    page = design_page(budget="12", ridge="3")
    unit = next(box for box in page.selectbox if box.label == "Ridge unit")
    unit.set_value("absolute").run()
    assert (view_of(page).ridge_kind, view_of(page).ridge) == ("absolute", 1e-3)
    next(box for box in page.selectbox if box.label == "Ridge unit").set_value("relative").run()
    assert view_of(page).ridge == DesignSettings.ridge


def test_length_is_told_and_the_criterions_figure_stands_beside_untested(home):
    page = design_page(budget="12")
    assert any("lies along answer length (uniform labels:" in caption.value for caption in page.caption)
    assert [box.value for box in page.warning] == [UNTESTED]
    assert UNTESTED == "not tested on outcomes: buy a pilot"
    assert any("worth these 12 in the criterion" in one.value for one in page.markdown)
    assert not any("not part of this version" in box.value for box in [*page.warning, *page.info])


@pytest.fixture(scope="module")
def kept() -> Any:
    """A small backtest of the demo pool, with a heavy ridge."""
    options = Options(
        space=SpaceSettings(dim=8), design=DesignSettings(budget=1, tol=1e-3, ridge=30.0), budgets=(8, 16), seeds=2
    )
    return run_backtest(load_pool(demo_pool()), FEATURES, options, workers=1)


def test_a_kept_backtest_stands_beside_the_criterions_figure(home, kept):
    pool = load_pool(demo_pool()).pool
    prepared = prepare(pool, FEATURES, space=SpaceSettings(dim=8), device="cpu")
    solved = solve(prepared, DesignSettings(budget=12, ridge=30.0, seed=4), with_baselines=False)
    assert worth(solved).sentences()[1] == UNTESTED
    write(kept, place(pool))
    beside = worth(solved).beside
    multiple = kept.report.curve("design").mean_multiple
    assert f"as much as {multiple.value:.1f} uniform ones" in beside or "no number of uniform labels" in beside
    assert ("ahead of uniform" in beside) == kept.report.ahead
    assert "other settings" not in beside
    other = solve(prepared, DesignSettings(budget=12, ridge=0.5), with_baselines=False)
    assert "other settings" in worth(other).beside
    page = design_page(budget="12")
    assert not page.warning
    assert any("On this pool's outcomes" in box.value for box in page.info)


def test_a_backtest_file_that_cannot_be_read_counts_as_none(home):
    pool = load_pool(demo_pool()).pool
    place(pool).mkdir(parents=True)
    (place(pool) / "backtest.json").write_text("{")
    prepared = prepare(pool, FEATURES, space=SpaceSettings(dim=8), device="cpu")
    assert worth(solve(prepared, DesignSettings(budget=12), with_baselines=False)).beside == UNTESTED


@pytest.mark.parametrize(("name", "sentence"), [("weights", "lies along answer length"), ("signoff", "lies along")])
def test_weights_and_sign_off_tell_length_too(home, name, sentence):
    page = design_page(budget="12")
    page.switch_page(f"pages/{name}.py").run()
    assert not page.exception
    assert any(sentence in caption.value for caption in page.caption)


def test_labels_per_pair_outside_the_usual_choices_stay_and_every_page_names_one_spread(home):
    page = design_page(budget="12", max_labels="5", spread="free", per_prompt="1")
    assert view_of(page).max_labels == 5
    chosen = next(box for box in page.selectbox if box.label == "Labels per pair, at most")
    assert chosen.value == 5.0
    assert "5" in chosen.options
    assert "not part of this version" not in str([one.value for one in page.info] + [one.value for one in page.caption])
    told = [one.value for one in page.caption if one.value.startswith("Spread ")]
    page.switch_page("pages/weights.py").run()
    assert not page.exception
    there = [one.value for one in page.caption if one.value.startswith("Spread ")]
    assert told[0].split(",")[0] == there[0].split(":")[0] == "Spread free"


def uploader(page: Any) -> Any:
    return next(box for box in page.file_uploader if box.label.startswith("Markdown file"))


def test_guidelines_given_here_belong_to_the_batch_that_is_reviewed(home):
    page = design_page(budget="12")
    uploader(page).set_value(("how.md", b"Prefer the **true** answer.", "text/markdown")).run()
    assert not page.exception
    assert [box.label for box in page.expander if "Guidelines" in box.label] == ["Guidelines for annotators: how.md"]
    page.switch_page("pages/review.py").run()
    assert not page.exception
    assert any("Prefer the **true** answer." in code.value for code in page.code)
    page.button(key="keep_batch").click().run()
    (folder,) = (home / "batches").iterdir()
    assert guidelines_of(read_batch(folder)) == "Prefer the **true** answer."
    page.switch_page("pages/design.py").run()
    assert not [box for box in page.warning if "are already batch" in box.value]
    next(button for button in page.button if button.label == "Drop guidelines").click().run()
    assert [box.label for box in page.expander if "Guidelines" in box.label] == ["Guidelines for annotators: none"]
    uploader(page).set_value(("b.md", b"Other words.", "text/markdown")).run()
    assert [box.value for box in page.warning if f"already batch {folder.name}, made with other guid" in box.value]
    page.switch_page("pages/review.py").run()
    assert guidelines_of(read_batch(folder)) == "Prefer the **true** answer."


def test_guidelines_that_cannot_be_used_are_told_in_a_sentence(home):
    page = design_page(budget="12")
    uploader(page).set_value(("how.md", b" \n", "text/markdown")).run()
    assert not page.exception
    assert [box.value for box in page.error if "is empty; give guidelines in words" in box.value]
