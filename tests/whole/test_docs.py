"""The documentation against the code: generated pages are current, and what is named exists."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from curation.batch.answers import GRADED
from curation.batch.folder import FILES, GUIDELINES, MESSAGE_KEYS, RECORD_KEYS, SIGNATURE
from curation.batch.shape import Manifest, SignatureFile
from curation.exchange.tools.base import TOOLS
from curation.exchange.tools.tables import GRADED_COLUMNS
from curation.exchange.training_files import COLUMNS
from curation.pool.files.packed import PACKINGS
from curation.pool.messages import CARRIED
from curation.pool.readers.base import READERS
from curation.pool.readers.mapping import RENAMED
from curation.pool.schema import CanonicalResponse, CanonicalRow
from curation.review.store.roles import Role
from curation.review.store.tables import EventRow, LabelRow
from curation.settings import DesignSettings, SpaceSettings
from pages._navigation import page_files

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
WRITTEN = [page for page in PAGES if page.name not in ("api.md", "commands.md", "settings.md")]  # by people
SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])(--[a-z](?:[a-z0-9.-]*[a-z0-9])?)")
# Options of other programs that the pages name, and the program.
FOREIGN = {"--server.address": "streamlit", "--inputs": "tests.fuzz", "--write": "tests/golden.py", "--build-arg": "docker", "--build": "docker compose", "--strict": "mypy"}  # fmt: skip


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outside_fences(text: str) -> str:
    return FENCE.sub("", text)


def spans(page: Path) -> Iterator[str]:
    """Code spans, and the lines of fenced blocks without a language."""
    text = page.read_text()
    yield from SPAN.findall(outside_fences(text))
    for language, body in FENCE.findall(text):
        if not language:
            yield from body.splitlines()


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"`|\*\*|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def headings(page: Path) -> list[str]:
    return re.findall(r"^#{1,6} (.+)$", outside_fences(page.read_text()), re.MULTILINE)


def test_generated_pages_are_what_the_code_says(make: ModuleType) -> None:
    assert make.stale() == [], "run python docs/make.py"


def test_a_stale_page_is_named_and_nothing_is_written(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for page in ("architecture.md", "commands.md", "settings.md", "api.md"):
        (tmp_path / page).write_text((ROOT / "docs" / page).read_text())
    monkeypatch.setattr(make, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["docs/make.py", "--check"])
    assert make.main() == 0
    page, old = tmp_path / "settings.md", "| `dim` | `65` |"
    page.write_text(page.read_text().replace("| `dim` | `64` |", old))
    capsys.readouterr()
    assert make.main() == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["docs/settings.md"]
    assert old in page.read_text()
    monkeypatch.setattr(sys, "argv", ["docs/make.py"])
    assert make.main() == 0
    assert old not in page.read_text()


def test_every_option_named_exists(make: ModuleType) -> None:
    known = {
        option
        for parameters in make.command_options().values()
        for parameter in parameters.values()
        for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help", *FOREIGN}
    wrong = [
        f"{page.name}: {option}"
        for page in WRITTEN
        for span in spans(page)
        for option in OPTION.findall(span)
        if option not in known
    ]
    assert wrong == []


def named_commands(span: str) -> Iterator[tuple[str, str, bool]]:
    """Command, what follows it, and whether it can be nothing but a command, of every part of a span."""
    for part in re.split(r"&&|#|;", span):
        for lead, certain in ((r"(?:python -m curation|pairwright) +", True), (r"^ *", False)):
            found = re.search(lead + r"((?:experiment +)?[a-z][a-z-]*)(?![\w.=/])(.*)", part)
            if found is not None:
                yield re.sub(" +", " ", found[1]), found[2], certain
                break


def test_every_command_named_exists_and_has_the_options_beside_it(make: ModuleType) -> None:
    commands = make.command_options()
    wrong, seen = [], set()
    for page in WRITTEN:
        for span in spans(page):
            for name, rest, certain in named_commands(span):
                if name not in commands:
                    wrong += [f"{page.name}: {span}"] if certain else []
                    continue
                seen.add(name)
                options = {o for p in commands[name].values() for o in (*p.opts, *p.secondary_opts)}
                wrong += [f"{page.name}: {name} {o}" for o in OPTION.findall(rest) if o not in {*options, "--help"}]
    assert wrong == []
    assert seen == set(commands)


def test_every_command_is_told_in_the_manual(make: ModuleType) -> None:
    told = (ROOT / "docs" / "manual.md").read_text()
    assert [name for name in make.command_options() if f"`{name}" not in told] == []


def test_every_path_named_exists() -> None:
    """A code span that begins like a path of the repository is one."""
    tops = tuple(f"{name}/" for name in ("curation", "pages", "tests", "docs", "data", ".ci"))
    wrong = []
    for page in WRITTEN:
        for span in SPAN.findall(outside_fences(page.read_text())):
            for word in span.split():
                if word.startswith(tops) and not (ROOT / word.split("::")[0]).exists():
                    wrong.append(f"{page.name}: {word}")
    assert wrong == []


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for page in WRITTEN for span in spans(page) for t in re.findall(r"^make ([a-z][a-z-]*)", span)}
    assert {"run", "test"} <= named <= targets


def test_every_relative_link_resolves() -> None:
    wrong = []
    for page in PAGES:
        text = re.sub(r"`[^`\n]*`", "", outside_fences(page.read_text()))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = (page.parent / name).resolve() if name else page
            if not place.exists():
                wrong.append(f"{page.name}: {target}")
            elif anchor and anchor not in map(slug, headings(place)):
                wrong.append(f"{page.name}: {target} (no such heading)")
    assert wrong == []


def test_every_cited_section_of_the_method_exists() -> None:
    known = {int(n) for n in re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "method.md").read_text(), re.MULTILINE)}
    cited: dict[int, str] = {}
    for folder in ("curation", "pages", "tests", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert "METHOD" + ".md" not in text, path
            for found in re.findall(r"docs/method\.md\s+sections?\s+([\d, and\s to]*\d)", text):
                cited |= dict.fromkeys(map(int, re.findall(r"\d+", found)), str(path))
    assert len(cited) > 5
    assert {n: path for n, path in cited.items() if n not in known} == {}


def test_every_setting_stands_in_the_table_with_its_option() -> None:
    table = (ROOT / "docs" / "settings.md").read_text()
    table = table[: table.index("## Presets")]
    rows = {
        cells[1].strip(" `"): cells
        for cells in (line.split("|") for line in table.splitlines() if line.startswith("| `"))
    }
    for kind in (SpaceSettings, DesignSettings):
        for f in fields(kind):
            assert rows[f.name][3].strip().startswith("`--"), f.name


def test_every_variable_of_the_environment_is_told(make: ModuleType) -> None:
    code = "".join(path.read_text() for top in ("curation", "pages") for path in (ROOT / top).rglob("*.py"))
    used = set(re.findall(r"\"(CURATION_[A-Z_]+|DATABASE_URL)\"", code))
    assert used == set(make.ENVIRONMENT)
    named = {v for page in WRITTEN for v in re.findall(r"\b(CURATION_[A-Z_]+)", page.read_text())}
    assert named <= used


def test_the_example_of_the_library_runs(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    exec(make.EXAMPLE.removeprefix("```python\n").removesuffix("```"), {})
    assert {path.name for path in (tmp_path / "batch").iterdir()} == FILES


# docs/formats.md -------------------------------------------------------------------------------------------------


def section(title: str) -> str:
    text = (ROOT / "docs" / "formats.md").read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


TOLD = {
    "Pool": [
        *CanonicalRow.model_fields,
        *CanonicalResponse.model_fields,
        *CARRIED,
        *READERS.names(),
        *RENAMED,
        *PACKINGS,
    ],
    "Batch folder": [*FILES, GUIDELINES, SIGNATURE, *RECORD_KEYS, *MESSAGE_KEYS, *Manifest.model_fields],
    "Exports to annotators": [*TOOLS.names(), *GRADED_COLUMNS, *GRADED],
    "Labels in": [*(set(LabelRow.__table__.columns.keys()) & {"outcome", "copy", "seconds", "strength", "both_bad"})],
    "Training rows": [*COLUMNS, "settled", "tools"],
    "Signature, log and key": [*SignatureFile.model_fields, *EventRow.__table__.columns.keys()],
}


@pytest.mark.parametrize("title", TOLD)
def test_the_fields_of_a_format_are_told(title: str) -> None:
    words = set(re.findall(r"[\w.-]+", section(title)))
    plain = {word.strip(".") for word in words} | words
    assert [name for name in dict.fromkeys(TOLD[title]) if name not in plain and name.lower() not in plain] == []


def test_every_page_of_the_dashboard_is_told_in_the_manual() -> None:
    titles = [page.title for page in page_files()]
    told = re.findall(r"^\| ([A-Z][\w-]+) \|", (ROOT / "docs" / "manual.md").read_text(), re.MULTILINE)
    assert titles
    assert [title for title in titles if title not in told] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_roles_are_told_in_the_manual() -> None:
    told = (ROOT / "docs" / "manual.md").read_text()
    assert [role for role in get_args(Role) if role not in told] == []
