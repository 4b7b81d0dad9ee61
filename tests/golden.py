"""What the redesign may not change, written down: `tests/golden/`.

    python tests/golden.py --write [NAME ...]

writes the files anew: those named, else all of them (ids.json, help.txt, json_keys.json, json_keys_slow.json, url.json). No test does: a difference is a promise broken, unless a commit says
why it was meant. Adding a command, an option, a key or a setting with a default is such a reason; changing one is not.
"""

from __future__ import annotations

import json
import sys
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from tests.desk import golden_ids, golden_json, golden_url  # noqa: E402
from tests.desk.golden_runs import workspace  # noqa: E402

FOLDER = Path(__file__).resolve().parent / "golden"
NAMES = ["help.txt", "url.json", "json_keys.json", "json_keys_slow.json", "ids.json"]


def help_text() -> str:
    """Every command with its arguments and options, types, defaults and help: what click knows, not what it draws."""
    import typer

    from curation.cli.app import app

    return "\n".join(_commands(typer.main.get_command(app), "curation")) + "\n"


def _commands(command: Any, name: str) -> list[str]:
    """Lines of a command, or of every command of a group, in the order of `--help`."""
    lines = [name, f"    {_one_line(command.help)}"]
    if hasattr(command, "commands"):
        return [*lines, ""] + [
            line for inner, part in command.commands.items() for line in _commands(part, f"{name} {inner}")
        ]
    arguments = [part for part in command.params if part.param_type_name == "argument"]  # in their order
    options = sorted((part for part in command.params if part.param_type_name == "option"), key=lambda part: part.opts)
    for parameter in (*arguments, *options):
        if parameter.name == "help":
            continue
        spelled = " / ".join([*parameter.opts, *parameter.secondary_opts])
        default = "required" if parameter.required else f"default {_default(parameter.default)}"
        many = ", repeatable" if parameter.multiple else ""
        lines += [f"  {spelled}: {_kind(parameter)}{many}, {default}", f"      {_one_line(parameter.help)}"]
    return [*lines, ""]


def _kind(parameter: Any) -> str:
    """What a parameter takes: its choices where there are any, else a kind of value with its bounds."""
    annotation = parameter.type_descriptor.annotation
    given = getattr(getattr(parameter.type_descriptor.parameter_info, "click_type", None), "choices", None)
    if given is None and isinstance(annotation, type) and issubclass(annotation, Enum):
        given = [choice.value for choice in annotation]
    if given is None and get_origin(annotation) is Literal:
        given = get_args(annotation)
    if given is not None:
        return "|".join(str(choice) for choice in given)
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    bounds = [f" {name} {value:g}" for name in ("min", "max") if (value := getattr(parameter, name)) is not None]
    return inner.__name__ + "".join(bounds)


def _default(value: Any) -> str:
    """A default as it would be typed: an enumeration's value."""
    return str(getattr(value, "value", value))


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()) or "-"


def as_json(value: Any) -> str:
    """JSON with one key a line, sorted, so that a difference is a line."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def held(name: str) -> Any:
    """What is held under a name: a text, or what its JSON says."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else text


def present(name: str, folder: Path, *, writing: bool = False) -> Any:
    """The same, of the code as it is now; `folder` is a place to work in. writing: as it is to be held."""
    with workspace(folder):
        if name == "help.txt":
            return help_text()
        if name == "url.json":
            return golden_url.golden()
        if name == "ids.json":
            return golden_ids.golden(folder, sure=writing)
        return golden_json.golden(folder, slow=name == "json_keys_slow.json")


def main(arguments: list[str]) -> int:
    """Write the files named, or all. Returns the exit status."""
    if arguments[:1] != ["--write"]:
        print(__doc__)
        return 2
    for name in arguments[1:] or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            found = present(name, Path(folder), writing=True)
        (FOLDER / name).write_text(found if isinstance(found, str) else as_json(found), encoding="utf-8")
        print(f"written: {FOLDER / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
