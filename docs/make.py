"""Writes the generated part of the documentation; `--check` names the files that are not what it would write.

`python docs/make.py`: docs/api.md, docs/commands.md, docs/settings.md, and in docs/architecture.md what stands between
`<!-- made: NAME -->` and `<!-- /made -->`. Everything comes from the code: docstrings, the command line, the settings.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTE = "Written by `python docs/make.py` from the code; do not edit."
BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- /made -->)", re.DOTALL)
# What somebody who embeds Pairwright may call, in the order of the work; everything else is the house's own.
LIBRARY = """api settings errors
pool.schema pool.readers.read pool.readers.base pool.files.storage pool.checks pool.labels pool.pair_lists
representation.features_file representation.extract representation.space
representation.fisher.base representation.fisher_matrix
run.prepare run.solve run.results run.report batch.records batch.folder batch.information
design.geometry design.criteria.base design.criteria.prior design.criteria.trace design.criteria.hedged
design.criteria.determinant
design.factors design.sets.feasible design.sets.limits design.result
design.certificate design.solvers.newton design.solvers.frank_wolfe design.selection.sampling design.selection.swaps
design.rules.base design.rules.compare design.selection.drawn
insight.explain insight.coverage insight.efficiency insight.concentration insight.length_share
health.sensitivity health.finding health.texts health.features health.checkup backtest.worth
review.store.store review.store.decisions review.store.records review.store.roles
review.register review.topup review.again review.earlier review.signoff review.settling
exchange.send exchange.receive exchange.second_rater exchange.export exchange.incoming exchange.tools.base exchange.trl
exchange.training_files backtest.run backtest.split backtest.report insight.learning insight.learning_result"""
EXAMPLE = """```python
import pairwright as pw

pool = pw.read_pool("data/demo.jsonl.gz")
run = pw.solve(pw.represent(pool, "data/demo.features.parquet"), budget=40)
print(run, run.pairs()["rationale"].head(3).tolist(), run.worth())
run.save("batch")
```"""
AFTER = """The ten names of `curation.api` are meant for notebooks and programs ([library.ipynb](library.ipynb));
what follows them is what they are made of."""
# Settings of the environment: `tests/whole/test_docs.py` compares the names with those in the code.
ENVIRONMENT = {
    "CURATION_HOME": "the workspace: database, batches, caches, logs; default `./workspace`",
    "CURATION_POOLS": "further folders that the dashboard may open pools from, separated by `:`",
    "DATABASE_URL": "the review database, as `postgresql://...`; default SQLite in the workspace",
    "CURATION_SIGNING_KEY": "file of the private key that signs; default `~/.config/pairwright/signing_key.pem`",
    "CURATION_SELF_SIGN": "`1`: who proposed a batch may sign it",
    "CURATION_ALLOW_REMOTE": "`1`: a dashboard without sign-in answers other addresses too",
    "CURATION_SIGNIN_HOURS": "how long a sign-in holds; default 12",
    "CURATION_TRUST_REMOTE_CODE": "names of models, separated by commas, whose own code may run",
    "CURATION_MAP_WORKER": "`0`: no process that keeps maps ready; the first map then takes some seconds more",
    "CURATION_JUDGE_KEY": "key of the endpoint of `rate` and of `experiment hh --judge`",
}


# The tree --------------------------------------------------------------------------------------------------------


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(_parsed(path)) or "").split("\n")[0]


def folders() -> str:
    """One line for every folder with code in it, from the docstring of its `__init__.py`."""
    lines = ["| folder | holds |", "|---|---|"]
    for place in sorted({path.parent for path in _modules("curation", "pages")}):
        start = place / "__init__.py"
        if start.exists():
            lines.append(f"| `{place.relative_to(ROOT)}/` | {first_line(start)} |")
    return "\n".join(lines) + "\n"


def tree() -> str:
    """Every module with the first line of its docstring, folder by folder."""
    lines = ["```"]
    for place, modules in _by_folder(_modules("curation", "pages")).items():
        lines.append(f"{place.relative_to(ROOT)}/")
        named = [path for path in modules if path.name != "__init__.py"]
        width = max((len(path.name) for path in named), default=0)
        lines += [f"  {path.name:<{width}}  {first_line(path)}" for path in named]
    return "\n".join([*lines, "```"]) + "\n"


def floors() -> str:
    """The floors of pyproject.toml, highest first: a module may import from lower ones only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = [c["layers"] for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    lines = ["| floor | modules |", "|---|---|"]
    for number, floor in zip(range(len(layers), 0, -1), layers, strict=True):
        names = ", ".join(f"`{name.strip().removeprefix('curation.')}`" for name in re.split(r"[|:]", floor))
        lines.append(f"| {number} | {names} |")
    return "\n".join(lines) + "\n"


def _modules(*tops: str) -> list[Path]:
    """Every module below these folders, sorted."""
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py") if "__pycache__" not in path.parts)


def _by_folder(paths: list[Path]) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = {}
    for path in sorted(paths, key=lambda path: (path.parent, path.name)):
        found.setdefault(path.parent, []).append(path)
    return found


# The library -----------------------------------------------------------------------------------------------------


def api() -> str:
    """Classes and functions of LIBRARY with signatures and docstrings, module by module."""
    contents, bodies = [], []
    for short in LIBRARY.split():
        name = f"curation.{short}"
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        contents.append(f"- [`{name}`](#{name.replace('.', '')}): {first_line(path)}")
        bodies += [f"## {name}", _plain(ast.get_docstring(_parsed(path)) or ""), *_told(path)]
    lead = (
        "What a program that embeds Pairwright may call, in the order of the work. Shapes, units and errors stand in "
        "the docstrings; every error that is about what was given is a `CurationError` with a sentence. The other "
        "modules are in [architecture.md](architecture.md)."
    )
    return "\n\n".join(["# The library", NOTE, lead, EXAMPLE, AFTER, "\n".join(contents), *bodies]) + "\n"


def _told(path: Path) -> Iterator[str]:
    """A block for every public class and function of a module that has a docstring."""
    source = path.read_bytes().split(b"\n")
    for node in _parsed(path).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        told = ast.get_docstring(node)
        if told is None:
            continue
        if not isinstance(node, ast.ClassDef):
            yield f"### `{node.name}`\n\n```python\n{_signature(node, source)}\n```\n\n{_plain(told)}"
            continue
        lines = [_head(node, source), *_fields(node, source)]
        methods = [
            f"- `{_method(part, source)}`: {_plain(ast.get_docstring(part) or '', joined=True)}"
            for part in node.body
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            and not part.name.startswith("_")
            and ast.get_docstring(part)
        ]
        block = [f"### `{node.name}`", "```python\n" + "\n".join(lines) + "\n```", _plain(told), "\n".join(methods)]
        yield "\n\n".join(part for part in block if part)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _head(node: ast.ClassDef, source: list[bytes]) -> str:
    return f"class {node.name}" + (f"({', '.join(_text(base, source) for base in node.bases)})" if node.bases else "")


def _fields(node: ast.ClassDef, source: list[bytes]) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_"):
            yield f"    {_field(part, source)}"


def _field(node: ast.AnnAssign, source: list[bytes]) -> str:
    """A field as the source has it; of a setting's declaration the default only, the rest stands in settings.md."""
    told = node.value
    if isinstance(told, ast.Call) and ast.unparse(told.func) in ("setting", "declared_without_default"):
        kind = f"{ast.unparse(node.target)}: {_text(node.annotation, source)}"
        return f"{kind} = {_text(told.args[0], source)}" if told.args else kind
    return _text(node, source)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, source: list[bytes]) -> str:
    """`name(parameters) -> type` on one line, as the source spells it; `self` and `cls` left out."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    parts = [_parameter(a, d, source) for a, d in zip(plain, defaults, strict=True) if a.arg not in ("self", "cls")]
    if given.vararg:
        parts.append(f"*{_parameter(given.vararg, None, source)}")
    elif given.kwonlyargs:
        parts.append("*")
    parts += [_parameter(a, d, source) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append(f"**{_parameter(given.kwarg, None, source)}")
    returns = f" -> {_text(node.returns, source)}" if node.returns else ""
    return f"{node.name}({', '.join(parts)}){returns}"


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef, source: list[bytes]) -> str:
    """As `_signature`; a property without the parentheses of a call."""
    names = {_text(decorator, source) for decorator in node.decorator_list}
    if not names & {"property", "cached_property"}:
        return _signature(node, source)
    return node.name + (f": {_text(node.returns, source)}" if node.returns else "")


def _parameter(node: ast.arg, default: ast.expr | None, source: list[bytes]) -> str:
    kind = f": {_text(node.annotation, source)}" if node.annotation else ""
    if default is None:
        return f"{node.arg}{kind}"
    return f"{node.arg}{kind} = {_text(default, source)}" if kind else f"{node.arg}={_text(default, source)}"


def _text(node: Any, source: list[bytes]) -> str:
    """The source of a node on one line, comments left out. source: the module's lines."""
    lines = source[node.lineno - 1 : node.end_lineno]
    lines[-1] = lines[-1][: node.end_col_offset]
    lines[0] = lines[0][node.col_offset :]
    segment = b"\n".join(lines).decode()
    return re.sub(r"\s+", " ", re.sub(r"\s#.*", "", segment)).strip()


def _plain(docstring: str, *, joined: bool = False) -> str:
    """A docstring as Markdown that shows every sign as it stands."""
    shown = re.sub(r"([*<>|\[\]])|(?<!\w)_|_(?!\w)", lambda found: f"\\{found[0]}", docstring)
    kept = re.split(r"(`[^`\n]+`)", docstring)
    if len(kept) > 1:  # inside code nothing is escaped
        shown = "".join(part if part.startswith("`") else _plain(part) for part in kept)
    return re.sub(r"\s*\n\s*", " ", shown) if joined else shown


# The command line ------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options, defaults and help, from the Typer app."""
    parts = [
        "# Commands",
        NOTE,
        "`pairwright COMMAND` where the package is installed, `python -m curation COMMAND` in a checkout. What the "
        "commands are for: [manual.md](manual.md). Exit status: 0 done, 1 failed, 2 usage.",
    ]
    for name, command in _commands():
        parameters = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
        words = [str(p.name).upper() for p in parameters if _is_argument(p) and p.required]
        words += [f"[{str(p.name).upper()}]" for p in parameters if _is_argument(p) and not p.required]
        usage = " ".join([name, *words, "[OPTIONS]"])
        hints = get_type_hints(command.callback)
        rows = [_row(parameter, hints[parameter.name]) for parameter in parameters]
        told = " ".join((command.help or "").split())
        table = ["| argument or option | values | default | means |", "|---|---|---|---|", *rows]
        parts += [f"## {name}", f"`{usage}`", told, "\n".join(table)]
    return "\n\n".join(parts) + "\n"


def command_options() -> dict[str, dict[str, Any]]:
    """Command -> name of its parameter -> Typer's parameter."""
    return {name: {str(p.name): p for p in command.params} for name, command in _commands()}


def _commands() -> Iterator[tuple[str, Any]]:
    import typer

    sys.path.insert(0, str(ROOT))
    from curation.cli.app import app

    def walk(group: Any, before: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{before}{name} ")
            else:
                yield f"{before}{name}", command

    yield from walk(typer.main.get_command(app), "")


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _row(parameter: Any, hint: Any) -> str:
    names = "/".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if _is_argument(parameter):
        names = f"`{str(parameter.name).upper()}`"
    default = "required" if parameter.required else _default(parameter)
    return f"| {names} | {_values(hint)} | {default} | {_cell(parameter.help or '')} |"


def _values(hint: Any) -> str:
    """What an option takes, by its annotation."""
    kinds = [kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if kind is not NoneType]
    (kind,) = kinds
    if get_origin(kind) is list:
        return f"{_values(get_args(kind)[0])}, repeatable"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if issubclass(kind, Enum):
        return ", ".join(f"`{choice.value}`" for choice in kind)
    return {bool: "on or off", int: "whole number", float: "number", str: "text", Path: "path"}[kind]


def _default(parameter: Any) -> str:
    value = parameter.default() if callable(parameter.default) else parameter.default
    if value is None or value == "" or (value is False and not parameter.secondary_opts):
        return ""
    if isinstance(value, bool):
        return f"`{(parameter.opts if value else parameter.secondary_opts)[0]}`"
    return f"`{_value(value)}`"


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# The settings ----------------------------------------------------------------------------------------------------


def settings() -> str:
    """Every setting as it is declared: default, option, key in an address, meaning; presets, the environment."""
    sys.path.insert(0, str(ROOT))
    from curation import settings as module
    from curation.dashboard.view import View
    from curation.declared import declared

    parts = ["# Settings", NOTE]
    parts.append(
        "Defaults are of the command line, the dashboard and the library alike. An address of the dashboard names what "
        "differs from them (`/design?budget=60&ridge=1`). What the settings mean: [method.md](method.md) and "
        "[manual.md](manual.md)."
    )
    kinds = (module.SpaceSettings, module.DesignSettings)
    for kind in kinds:
        rows = ["| setting | default | option | address | means |", "|---|---|---|---|---|"]
        for each in declared(kind):
            default = "required" if each.required else _setting_default(each.default)
            names = "/".join(f"`{name}`" for name in each.spelled if name)
            key = f"`{each.key}`" if each.key else ""
            rows.append(f"| `{each.name}` | {default} | {names} | {key} | {_cell(each.help)} |")
        parts += [f"## {kind.__name__}", " ".join((kind.__doc__ or "").split()), "\n".join(rows)]
    taken = {each.key for each in module.SETTINGS}
    keys = ", ".join(f"`{f.name}`" for f in fields(View) if f.name not in taken)
    parts += ["## Also in an address", f"{keys}: files, and the share of labels that repeat a pair (`--overlap`)."]
    parts += ["## Presets", "What `--preset` sets where it is not given by name.", _presets(module.PRESETS)]
    environment = [f"| `{name}` | {told} |" for name, told in ENVIRONMENT.items()]
    parts += ["## Environment", "\n".join(["| variable | means |", "|---|---|", *environment])]
    return "\n\n".join(parts) + "\n"


def _setting_default(value: Any) -> str:
    return "none" if value is None or value == () else f"`{_value(value)}`"


def _presets(presets: Any) -> str:
    names = list(presets)
    rows = ["| setting | " + " | ".join(f"`{name}`" for name in names) + " |", "|---|" + "---|" * len(names)]
    for setting in presets[names[0]].values:
        values = " | ".join(f"`{_value(presets[name].values[setting])}`" for name in names)
        rows.append(f"| `{setting}` | {values} |")
    return "\n".join(rows)


# Files -----------------------------------------------------------------------------------------------------------

BLOCKS: dict[str, Callable[[], str]] = {"folders": folders, "tree": tree, "floors": floors}


def made() -> dict[Path, str]:
    """Every generated file with what it should hold."""
    kept = DOCS / "architecture.md"
    filled = BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]]() + found[3], kept.read_text(encoding="utf-8"))
    return {
        kept: filled,
        DOCS / "api.md": api(),
        DOCS / "commands.md": commands(),
        DOCS / "settings.md": settings(),
    }


def stale() -> list[str]:
    """Names of the files that are not what `made` says."""
    return [
        f"docs/{path.name}"
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write, or check. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with the names of stale files")
    if parser.parse_args().check:
        old = stale()
        print("\n".join(f"{name} is not what the code says; run python docs/make.py" for name in old) or "current")
        return 1 if old else 0
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
