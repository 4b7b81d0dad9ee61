"""Where rows come from: one file, a folder of data files, or a dataset of the hub."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation.errors import PoolError
from curation.pool.files.lines import Row, container_of, read_rows
from curation.pool.files.workbook import workbook_notes

# Families of data files in a folder, in order of preference; a folder is read through one of them only.
_FAMILIES = (
    (".parquet",),
    (".arrow",),
    (".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zip", ".ndjson"),
    (".json", ".json.gz", ".json.zst", ".json.bz2", ".json.xz", ".json.zip"),
    (".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".csv.xz", ".csv.zip", ".tsv"),
    (".xlsx",),
)
_ENDINGS = tuple(ending for family in _FAMILIES for ending in family)
_BOOKKEEPING = {"state.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """Rows and where they come from. `place` stands in messages, `name` names the pool."""

    rows: Iterable[Row]
    place: str
    name: str
    notes: tuple[str, ...] = ()


def open_source(path: str | Path) -> Source:
    """The rows at a path. Raises PoolError if there is nothing, or nothing readable."""
    place = Path(path).expanduser()
    try:
        exists, folder = place.exists(), place.is_dir()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise PoolError(f"{str(path)[:200]} cannot be opened: {error.strerror or error}.") from error
    if folder:
        return _folder(place)
    if exists or str(path).lower().endswith(_ENDINGS):
        notes = workbook_notes(place) if place.exists() and container_of(place) == "xlsx" else ()
        return Source(read_rows(place), str(path), plain_name(place), notes)
    return _hub(str(path))


def plain_name(path: Path) -> str:
    """The file's name without its data and compression endings."""
    name = path.name
    for ending in (".gz", ".zst", ".bz2", ".xz", ".zip", *_ENDINGS):
        name = name[: -len(ending)] if name.lower().endswith(ending) and len(name) > len(ending) else name
    return name


def data_files(folder: Path) -> list[Path]:
    """The data files of a saved dataset, of one family, sorted; caches and bookkeeping left out."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in _BOOKKEEPING
        and not path.name.startswith("cache-")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    for family in _FAMILIES:
        found = [path for path in files if path.name.lower().endswith(family)]
        if found:
            return found
    return []


def _folder(folder: Path) -> Source:
    files = data_files(folder)
    if not files:
        raise PoolError(f"{folder} holds no data files; a dataset folder needs {', '.join(_ENDINGS)} files.")
    names = [str(path.relative_to(folder)) for path in files]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    notes = (f"read {len(files)} files of the folder: {shown}",)
    return Source(_folder_rows(folder, files), str(folder), folder.resolve().name, notes)


def _folder_rows(folder: Path, files: list[Path]) -> Iterator[Row]:
    """Rows numbered through all files; each says which file it comes from and its number there."""
    number = 0
    for path in files:
        for row in read_rows(path):
            number += 1
            yield replace(row, line=number, where=f"{path.relative_to(folder)} line {row.line}")


def _hub(name: str) -> Source:
    if not _HUB_NAME.fullmatch(name):
        raise PoolError(f"{name} does not exist; check the path.")
    return Source(_hub_rows(name), name, name.replace("/", "-"), (f"read the dataset {name} from the hub",))


def _hub_rows(name: str) -> Iterator[Row]:
    datasets: Any = importlib.import_module("datasets")
    try:
        loaded = datasets.load_dataset(name)
    except (OSError, ValueError) as error:  # its own errors derive from these: not found, offline, no such config
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PoolError(
            f"{name} does not exist here, and no dataset of that name can be loaded ({reason}); check the path, or "
            "download the dataset and give its folder."
        ) from error
    splits = loaded.values() if isinstance(loaded, dict) else [loaded]
    number = 0
    for split in splits:
        for data in split:
            number += 1
            yield Row(number, dict(data))
