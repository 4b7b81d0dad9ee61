"""A setting is declared once: one line in settings.py, and it is asked for, kept, shown and told everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from curation.batch.folder import read_batch
from curation.batch.records import check_ids
from curation.dashboard.view import IN_VIEW, View, view_from_query
from curation.declared import FIRST, UNSAID, declared, in_id, judge, setting, typed
from curation.errors import DesignError
from curation.settings import DEFAULT_DESIGN, PRESETS, SETTINGS, DesignSettings, SpaceSettings, preparing
from tests.desk.golden_runs import call
from tests.desk.pools import ROOT, demo_pool

FEATURES = demo_pool().with_name("demo.features.parquet")
LINES = {
    "number": (
        "DesignSettings",
        '    tomorrow: float = setting(0.5, group="limits", since="9.0.0", help="Of tomorrow.", least=0.0, most=1.0)\n',
        (0.5, 0.75),
    ),
    "choice": (
        "SpaceSettings",
        '    tomorrow: str = setting("a", group="space", since="9.0.0", help="Of tomorrow.", choices=("a", "b"))\n',
        ("a", "b"),
    ),
}
# What the changed copy does, told as one line of JSON.
SCRIPT = """
import importlib.util, json, sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

page, usual, other = sys.argv[1], *json.loads(sys.argv[2])
root = Path(__file__).parent
pool, features = root / "data" / "demo.jsonl.gz", root / "data" / "demo.features.parquet"

import curation
assert Path(curation.__file__).is_relative_to(root)
import typer
from curation.cli.app import app, main
from curation.errors import CurationError

found = {}
commands = typer.main.get_command(app).commands
found["help"] = {
    name: next((p.help for p in commands[name].params if "--tomorrow" in p.opts), None)
    for name in ("solve", "compare", "backtest")
}
ask = [str(pool), "--features", str(features), "--budget", "12", "--dim", "6"]
found["status"] = [
    main(["solve", *ask, "--out", "plain"]),
    main(["solve", *ask, "--out", "usual", "--tomorrow", str(usual)]),
    main(["solve", *ask, "--out", "other", "--tomorrow", str(other)]),
    main(["compare", *ask, "--tomorrow", str(other)]),
    main(["solve", *ask, "--out", "none", "--tomorrow", "7"]),
]

def seen(opened, features, options, **named):
    found["backtest"] = {**vars(options.space), **vars(options.design)}["tomorrow"]
    raise CurationError("seen")

with mock.patch("curation.backtest.run.run_backtest", seen):
    main(["backtest", str(pool), "--features", str(features), "--tomorrow", str(other)])

from curation.dashboard.view import View, read_query, view_from_query
view = View(tomorrow=other)
found["query"] = view.to_query().get("tomorrow")
back = view_from_query(view.to_query())
found["back"] = back.tomorrow
found["meant"] = {**vars(back.space_settings()), **vars(back.design_settings(10))}["tomorrow"]
found["prepared"] = dict(view.prepared_by()).get("tomorrow")
found["refused"] = len(read_query({"tomorrow": "7"})[1])

from streamlit.testing.v1 import AppTest
screen = AppTest.from_file(str(root / "app.py"), default_timeout=300)
screen.query_params["budget"] = "12"
screen.run()
screen.switch_page(f"pages/{page}.py").run()
assert not screen.exception
boxes = [box for kind in ("number_input", "selectbox") for box in getattr(screen, kind) if box.label == "Tomorrow"]
found["controls"] = len(boxes)
found["folded"] = [box.label for box in screen.expander if box.label == "More settings"]
boxes[0].set_value(other).run()
assert not screen.exception
found["session"] = screen.session_state["view"].tomorrow
found["address"] = screen.query_params["tomorrow"]

spec = importlib.util.spec_from_file_location("docs_make", root / "docs" / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
found["table"] = [line for line in make.settings().splitlines() if "`tomorrow`" in line]
print("FOUND " + json.dumps(found))
"""


def copied(folder: Path, kind: str, line: str) -> Path:
    """A copy of the program with one more line in settings.py: a field at the end of one of its classes."""
    gone = shutil.ignore_patterns("__pycache__")
    for name in ("curation", "pages", "docs", "data", ".streamlit"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, ignore=gone)
    for name in ("app.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    settings = folder / "curation" / "settings.py"
    before, after = settings.read_text().split(f"class {kind}:")
    head, tail = after.split("\n    def __post_init__", 1)
    settings.write_text(f"{before}class {kind}:{head}{line}\n    def __post_init__{tail}")
    return folder


@pytest.fixture(scope="module", params=["number", pytest.param("choice", marks=pytest.mark.slow)])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program with one more setting does."""
    kind, line, (usual, other) = LINES[request.param]
    folder = copied(tmp_path_factory.mktemp(request.param), kind, line)
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "CURATION_HOME": str(folder / "home"), "CURATION_ALLOW_REMOTE": "1"}
    environment.pop("DATABASE_URL", None)
    page = "design" if kind == "DesignSettings" else "features"
    done = subprocess.run(
        [sys.executable, "script.py", page, json.dumps([usual, other])],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    part = "settings" if kind == "DesignSettings" else "space"
    return {**json.loads(found[6:]), "folder": folder, "usual": usual, "other": other, "part": part}


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return read


def test_one_line_gives_every_command_that_designs_an_option(told: dict[str, Any]) -> None:
    assert told["help"] == dict.fromkeys(("solve", "compare", "backtest"), "Of tomorrow.")
    assert told["status"][:4] == [0, 0, 0, 0]
    assert told["status"][4] != 0  # 7 is out of its bounds, and no choice
    assert not (told["folder"] / "none").exists()
    assert told["backtest"] == told["other"]


def test_it_stands_in_the_manifest_and_changes_the_id_only_where_it_is_not_at_its_default(
    told: dict[str, Any], tmp_path: Path
) -> None:
    made = {name: manifest(told["folder"] / name) for name in ("plain", "usual", "other")}
    assert {name: one[told["part"]]["tomorrow"] for name, one in made.items()} == {
        "plain": told["usual"], "usual": told["usual"], "other": told["other"],
    }  # fmt: skip
    call("solve", demo_pool(), "--features", FEATURES, "--budget", 12, "--dim", 6, "--out", tmp_path / "today")
    today = manifest(tmp_path / "today")["batch_id"]
    assert made["plain"]["batch_id"] == made["usual"]["batch_id"] == today
    assert made["other"]["batch_id"] != today


def test_an_address_holds_it_and_refuses_what_it_cannot_be(told: dict[str, Any]) -> None:
    assert told["query"] == str(told["other"])
    assert told["back"] == told["meant"] == told["other"]
    assert told["refused"] == 1


def test_a_pool_is_prepared_anew_by_a_setting_of_the_space_only(told: dict[str, Any]) -> None:
    assert told["prepared"] == (told["other"] if told["part"] == "space" else None)


def test_its_page_has_a_control_that_changes_the_view(told: dict[str, Any]) -> None:
    assert told["controls"] == 1
    assert told["folded"] == ["More settings"]
    assert told["session"] == told["other"]
    assert told["address"] in (str(told["other"]), [str(told["other"])])


def test_the_table_of_settings_tells_it(told: dict[str, Any]) -> None:
    (row,) = told["table"]
    assert row == f"| `tomorrow` | `{told['usual']}` | `--tomorrow` | `tomorrow` | Of tomorrow. |"


def test_no_other_file_was_touched(told: dict[str, Any]) -> None:
    folder = told["folder"]
    changed = [
        path.relative_to(folder)
        for top in ("curation", "pages", "docs", "app.py")
        for path in ([folder / top] if (folder / top).is_file() else (folder / top).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
        and path.read_bytes() != (ROOT / path.relative_to(folder)).read_bytes()
    ]  # fmt: skip
    assert changed == [Path("curation/settings.py")]


# The declarations -----------------------------------------------------------------------------------------------


def test_every_setting_but_the_budget_survives_an_address_or_is_left_out_of_it_by_intent() -> None:
    assert {s.name for s in SETTINGS} - {s.name for s in IN_VIEW.values()} == {"budget", "solver", "tol", "device"}
    assert View().design_settings(10) == DesignSettings(budget=10)
    assert View().space_settings() == SpaceSettings()
    for key, each in IN_VIEW.items():
        assert each.value(getattr(view_from_query({}), key)) == each.default, key


def test_a_later_setting_is_left_out_of_the_id_at_what_batches_before_it_mean() -> None:
    later = {s.name: s.left_out for s in SETTINGS if s.left_out is not UNSAID}
    assert later == {
        "prior_power": 0.0,
        "temperature": 1.0,
        "per_token": True,
        "max_length_difference": None,
        "criterion": "trace",
    }
    present = asdict(DEFAULT_DESIGN)
    kept = in_id(DesignSettings, {**present, **later})
    assert kept.keys() == present.keys() - later.keys()
    assert kept["device"] is None
    assert in_id(DesignSettings, present).keys() == kept.keys() | {"prior_power"}
    assert all(s.since == FIRST for s in SETTINGS if s.name not in later)


class Plugs:
    """Choices that count how often they are looked for."""

    asked = 0

    def names(self) -> tuple[str, ...]:
        self.asked += 1
        return ("one", "two")


def test_choices_of_a_folder_of_plugs_are_looked_for_only_where_they_are_needed() -> None:
    plugs = Plugs()

    @dataclass(frozen=True)
    class Settings:
        plug: str = setting("auto", group="prior", since="9.0.0", help="A plug.", choices=("auto", plugs))

        def __post_init__(self) -> None:
            judge(self)

    (each,) = declared(Settings)
    assert (Settings().plug, each.empty, each.required, plugs.asked) == ("auto", "auto", False, 0)
    assert Settings("two").plug == "two"
    with pytest.raises(DesignError, match=r"--plug 'three' is unknown; use auto, one, two\."):
        Settings("three")
    assert get_args(each.shape) == ("auto", "one", "two")
    assert typed(Settings, {"plug": "two"}) == {"plug": "two"}
    with pytest.raises(DesignError, match="kept setting plug cannot be used: input should be 'auto', 'one' or 'two'"):
        typed(Settings, {"plug": "three"})


def test_a_number_that_may_be_none_has_0_for_it_on_pages_whatever_its_bounds() -> None:
    from pages._controls import _widget

    asked: list[tuple[Any, ...]] = []

    def number_input(*given: Any, **_: Any) -> Any:
        asked.append(given)
        return 0

    @dataclass(frozen=True)
    class Settings:
        most: int | None = setting(None, group="limits", since="9.0.0", help="At most.", least=1, most=9)

    (each,) = declared(Settings)
    _widget(each, SimpleNamespace(number_input=number_input), 3)
    assert each.value(0) is None
    assert asked == [("Most", 0, 9)]


def test_presets_set_what_hgm_sets_otherwise() -> None:
    names = {s.name for s in SETTINGS if s.hgm is not UNSAID}
    assert all(preset.values.keys() == names for preset in PRESETS.values())
    assert all(s.hgm != s.default for s in SETTINGS if s.hgm is not UNSAID)
    assert PRESETS["default"].design() == DEFAULT_DESIGN


def test_what_a_pool_is_prepared_by_is_what_prepare_takes() -> None:
    import inspect

    from curation.run.prepare import prepare

    assert preparing(DEFAULT_DESIGN).keys() <= inspect.signature(prepare).parameters.keys()


def test_a_batch_with_infinities_proves_its_own_id(tmp_path: Path) -> None:
    call(
        "solve", demo_pool(), "--features", FEATURES, "--budget", 12, "--dim", 6, "--max-labels-per-pair", "inf",
        "--spread", "free", "--quota", "coding=1..", "--out", tmp_path / "batch",
    )  # fmt: skip
    assert manifest(tmp_path / "batch")["settings"]["max_labels_per_pair"] == "inf"
    check_ids(read_batch(tmp_path / "batch"))
