"""What pyproject.toml says of the package is so: folders, versions, requirements; the container files are sound."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import curation
from curation.settings import app_folder
from tests.desk.pools import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def pinned(*files: str) -> dict[str, Version]:
    """The versions in the requirements files, by canonical name."""
    lines = [line for name in files for line in (ROOT / name).read_text().splitlines()]
    found = [re.split("==", line.split("#")[0].strip()) for line in lines if "==" in line]
    return {canonicalize_name(name): Version(version) for name, version in found}


def wanted(*extras: str) -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    return [found for text in texts if (found := Requirement(text)).name != "pairwright"]


def test_every_folder_of_the_package_is_in_the_wheel() -> None:
    folders = {path.parent for path in (ROOT / "curation").rglob("*.py")}
    listed = {name for name in TOOL["packages"] if not name.startswith("pairwright")}
    assert listed == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    for package, patterns in TOOL["package-data"].items():
        place = ROOT / TOOL["package-dir"].get(package, package.replace(".", "/"))
        for pattern in patterns:
            assert list(place.glob(pattern)), f"{package}: {pattern}"
    kinds = {
        path.suffix for path in (ROOT / "curation").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert kinds == {".py", ".typed", ".md", ".mako"}


def test_what_is_pinned_is_what_the_package_asks_for() -> None:
    versions = pinned("requirements.txt")
    asked = wanted("train", "server")
    assert {canonicalize_name(found.name) for found in asked} == set(versions)
    for found in wanted("train", "server", "test"):
        version = pinned("requirements.txt", "requirements-test.txt")[canonicalize_name(found.name)]
        assert found.specifier.contains(version), f"{found} and {version}"
        installed = importlib.metadata.version(found.name)
        assert found.specifier.contains(installed.split("+")[0]), f"{found} and {installed}"


def test_one_version() -> None:
    assert PROJECT["version"] == curation.__version__
    assert f"## {curation.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_dashboards_files_are_found() -> None:
    assert (app_folder() / "app.py").is_file()
    assert (app_folder() / "data" / "demo.jsonl.gz").is_file()


def test_the_compose_file_keeps_the_composition_schema() -> None:
    pytest.importorskip("check_jsonschema")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_pinned_unprivileged_and_says_whether_it_is_well() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]
    assert {word for word, _ in steps} <= {
        "FROM", "ARG", "ENV", "COPY", "RUN", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"
    }  # fmt: skip
    said = dict(steps)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", said["FROM"])
    assert said["USER"].isdigit()
    assert said["USER"] != "0"
    assert "/_stcore/health" in said["HEALTHCHECK"]
    assert said["ENTRYPOINT"] == '["pairwright"]'
    assert "pairwright" in PROJECT["scripts"]
    ignored = Path(ROOT / ".dockerignore").read_text().split()
    assert {"workspace", ".git"} <= set(ignored)
    assert not {"curation", "pages", "data", "app.py", ".streamlit", "requirements.txt"} & set(ignored)
