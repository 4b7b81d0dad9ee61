"""A plug that somebody adds: one file in a folder of its own, which becomes part of the registry's package for a while."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from curation.registry import Registry

MAIN = """
import sys
from importlib import import_module
import_module(sys.argv[1]).__path__.append(sys.argv[2])
from curation.cli.app import main
sys.exit(main(sys.argv[3:]))
"""


@contextlib.contextmanager
def added(registry: Registry[Any], folder: Path) -> Iterator[None]:
    """The modules of `folder` are plugs of the registry, in this process."""
    package = import_module(registry.package)
    names = [path.stem for path in folder.glob("*.py")]
    with mock.patch.object(package, "__path__", [*package.__path__, str(folder)]):
        registry.forget()
        try:
            yield
        finally:
            registry.forget()
            for name in names:
                sys.modules.pop(f"{registry.package}.{name}", None)
                vars(package).pop(name, None)


def command(registry: Registry[Any], folder: Path, *arguments: object, status: int = 0) -> str:
    """What a command prints, in a process of its own in which the modules of `folder` are plugs of the registry."""
    told = subprocess.run(
        [sys.executable, "-c", MAIN, registry.package, str(folder), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "COLUMNS": "250"},
    )  # fmt: skip
    assert told.returncode == status, (told.stdout, told.stderr)
    return told.stdout if status == 0 else told.stderr


def answer(registry: Registry[Any], folder: Path, *arguments: object) -> dict[str, Any]:
    """As `command`, what it prints under --json."""
    return dict(json.loads(command(registry, folder, *arguments, "--json")))
