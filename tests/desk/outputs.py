"""Every command that writes, with what it needs."""

from __future__ import annotations

from typing import Any

import typer

from curation.cli import app as cli

ROOT: Any = typer.main.get_command(cli.app)


def commands() -> dict[str, Any]:
    """Every command of the program, by its words."""
    found = dict(ROOT.commands)
    return {
        **{name: one for name, one in found.items() if not hasattr(one, "commands")},
        **{f"{name} {sub}": one for name, group in found.items() if hasattr(group, "commands") for sub, one in group.commands.items()},
    }  # fmt: skip
