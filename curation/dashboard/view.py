"""What a dashboard session is looking at: pool, features, settings; readable from and writable to a URL."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from curation.errors import CurationError, DesignError, PoolError
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.store import Store, open_store
from curation.settings import (
    BEFORE,
    DEFAULT_DESIGN,
    DEFAULT_SPACE,
    OVERLAP_MOST,
    PRESETS,
    DesignSettings,
    SpaceSettings,
    app_folder,
    default_budget,
    parse_quotas,
    pool_folders,
    workspace,
)
from curation.system.files import shown_path

POOL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv", ".json", ".json.gz")
# What an address may name. Arrow is not among it: a file that crashes its reader takes everybody's session with it.
POOL_ENDINGS = (
    *(*POOL_SUFFIXES, ".tsv", ".ndjson", ".csv.gz", ".csv.zst", ".json.zst", ".xlsx", ".zip"),
    *(f"{kind}{packing}" for kind in (".jsonl", ".json", ".csv") for packing in (".bz2", ".xz")),
)
FEATURES_ENDINGS = (".parquet",)
LIST_ENDINGS = (".csv",)
DEMO = "demo"
DATA = app_folder() / "data"


@dataclass(frozen=True)
class View:
    """Everything that decides what the pages show. Names are short because they stand in the URL.

    pool: `demo` or a path in an allowed folder. features: "" means the file found beside the pool.
    """

    pool: str = DEMO
    features: str = ""
    budget: int = 0  # 0: a default by the pool's size
    ridge: float = DEFAULT_DESIGN.ridge
    ridge_kind: str = DEFAULT_DESIGN.ridge_kind
    prior_power: float = DEFAULT_DESIGN.prior_power
    dim: int = DEFAULT_SPACE.dim
    normalize: bool = DEFAULT_SPACE.normalize
    pca: str = DEFAULT_SPACE.pca
    length: bool = DEFAULT_SPACE.length
    fisher: str = DEFAULT_DESIGN.fisher
    temperature: float = DEFAULT_DESIGN.temperature
    per_token: bool = DEFAULT_DESIGN.per_token
    spread: str = DEFAULT_DESIGN.spread
    max_labels: float = DEFAULT_DESIGN.max_labels_per_pair
    per_prompt: int = 0  # 0: no own cap
    quotas: str = ""  # a=1..5;b=..9
    generator_share: float = 0.0  # 0: no cap
    max_length_difference: float = 0.0  # mean |log length difference|; 0: no limit
    cost: str = ""
    overlap: float = 0.0
    select: str = DEFAULT_DESIGN.select
    seed: int = DEFAULT_DESIGN.seed
    pins: str = ""  # file in the workspace
    exclude: str = ""  # file in the workspace

    def space_settings(self) -> SpaceSettings:
        """The settings of the space."""
        return SpaceSettings(dim=self.dim, normalize=self.normalize, pca=self.pca, length=self.length)  # type: ignore[arg-type]

    def design_settings(self, prompts: int) -> DesignSettings:
        """The settings of the design on a pool of that many prompts."""
        return DesignSettings(
            budget=self.budget or default_budget(prompts),
            ridge=self.ridge,
            ridge_kind=self.ridge_kind,  # type: ignore[arg-type]
            prior_power=self.prior_power,
            fisher=self.fisher,  # type: ignore[arg-type]
            temperature=self.temperature,
            per_token=self.per_token,
            spread=self.spread,  # type: ignore[arg-type]
            max_labels_per_pair=self.max_labels,
            per_prompt=self.per_prompt or None,
            quotas=parse_quotas(self.quotas),
            generator_share=self.generator_share or None,
            max_length_difference=self.max_length_difference or None,
            cost=self.cost or None,
            select=self.select,  # type: ignore[arg-type]
            seed=self.seed,
        )

    def to_query(self) -> dict[str, str]:
        """What differs from the defaults, as text for a URL; settings whose default has changed are always written."""
        plain = View()
        return {
            f.name: _text(getattr(self, f.name))
            for f in fields(self)
            if f.name in BEFORE or getattr(self, f.name) != getattr(plain, f.name)
        }

    @property
    def preset(self) -> str | None:
        """The preset whose values this view has; None where it differs from every one."""
        return next((name for name in PRESETS if self.with_preset(name) == self), None)

    def with_preset(self, name: str) -> View:
        """This view with a preset's values; budget, dimensions, limits and files stay."""
        values = dict(PRESETS[name].values)
        return replace(self, max_labels=values.pop("max_labels_per_pair"), **values)


def _text(value: Any) -> str:
    """A value for an address: short where that says all, else every digit."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def view_from_query(query: Mapping[str, str]) -> View:
    """The view a URL asks for; names and values it does not know are left at their defaults.

    Every address names ridge and prior power; one that names the ridge alone was written before the other existed.
    """
    return read_query(query)[0]


def read_query(query: Mapping[str, str]) -> tuple[View, tuple[str, ...]]:
    """The view a URL asks for, and a sentence for every value of it that is out of range or no value at all."""
    view, refused = View(), []
    for f in fields(View):
        if f.name not in query:
            continue
        try:
            candidate = _with(view, f.name, query[f.name])
        except (ValueError, CurationError) as error:
            told = str(error) if isinstance(error, CurationError) else "it is no value of this setting."
            shown = shown_path(query[f.name][:40])
            refused.append(f"The address asks for {f.name} = {shown}, which is left out: {told}")
            continue
        if f.name == "ridge" and "prior_power" not in query:
            candidate = replace(candidate, prior_power=BEFORE["prior_power"])
        view = candidate
    return view, tuple(refused)


_CHOICES = {
    "ridge_kind": ("relative", "absolute"),
    "pca": ("within", "raw"),
    "fisher": ("auto", "reference", "empirical", "uniform"),
    "spread": ("auto", "balanced", "capped", "free"),
    "select": ("sample", "exact", "paper"),
}


def _with(view: View, name: str, text: str) -> View:
    """The view with one setting as an address spells it. Raises ValueError and CurationError."""
    default = getattr(view, name)
    if isinstance(default, bool):
        if text not in ("0", "1"):
            raise ValueError(text)
        value: Any = text == "1"
    elif isinstance(default, int):
        value = int(text)
    elif isinstance(default, float):
        value = float(text)
        if math.isnan(value):
            raise ValueError(text)
    else:
        value = text
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(text)
    if isinstance(value, str) and not _plain(value):
        raise DesignError("it holds characters that cannot be shown.")
    if name == "overlap" and not 0 <= value <= OVERLAP_MOST:
        raise DesignError(f"it is outside 0..{OVERLAP_MOST:g}, the share of labels that repeat a pair.")
    candidate = replace(view, **{name: value})
    candidate.space_settings()
    candidate.design_settings(10)
    return candidate


def _plain(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def scenario_settings(kept: Mapping[str, str]) -> dict[str, str]:
    """A scenario's settings as kept; what one of 0.2.0 does not say, because it was the default then, is filled in."""
    return {**{name: _text(value) for name, value in BEFORE.items()}, **kept}


def allowed_folders() -> list[Path]:
    """Where pools and features may be opened from: the workspace, data/ and CURATION_POOLS."""
    return [workspace(), DATA, *pool_folders()]


def allowed_path(path: str | Path, endings: tuple[str, ...] = ()) -> Path:
    """The file, if it lies in an allowed folder and its name ends in one of `endings`. Raises PoolError otherwise."""
    shown = shown_path(path)
    try:
        resolved = Path(path).expanduser().resolve()
        inside = any(resolved.is_relative_to(folder.expanduser().resolve()) for folder in allowed_folders())
        file = resolved.is_file()
    except (OSError, ValueError, RuntimeError):  # a loop of links, a name too long, a NUL, the home of nobody
        raise PoolError(f"{shown} is no name of a file; choose one from the list.") from None
    if not inside:
        raise PoolError(
            f"{shown} is outside the folders this dashboard may open; put it in the workspace, or name its folder in "
            "CURATION_POOLS."
        )
    if not file:
        raise PoolError(f"{shown} does not exist or is not a file; choose one from the list.")
    if endings and not resolved.name.lower().endswith(endings):
        raise PoolError(f"{shown} is not opened here; its name must end in {', '.join(endings)}.")
    return resolved


def pool_path(name: str) -> Path:
    """The file of `demo` or of a path in an allowed folder. Raises PoolError."""
    return DATA / "demo.jsonl.gz" if name == DEMO else allowed_path(name, POOL_ENDINGS)


def list_pools() -> list[Path]:
    """Files in the allowed folders that look like pools; features files, and the bundled demo, left out."""
    found = []
    for folder in allowed_folders():
        for place in (folder, folder / "pools", folder / "uploads"):
            try:
                found += [p for p in sorted(place.iterdir()) if p.name.endswith(POOL_SUFFIXES) and p.is_file()]
            except OSError:  # no such folder, or one that may not be entered
                continue
    return [
        p
        for p in dict.fromkeys(found)
        if ".features." not in p.name and _plain(str(p)) and not (p.name.startswith("demo.") and p.parent == DATA)
    ]


def stem(path: Path) -> str:
    """File name without any of the pool suffixes."""
    for suffix in sorted(POOL_SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def list_features(pool_file: Path, fingerprint: str) -> list[Path]:
    """Features files that may belong to a pool: beside it, then those made for its fingerprint in the workspace."""
    beside = sorted(pool_file.parent.glob(f"{stem(pool_file)}.features.parquet")) + sorted(
        pool_file.parent.glob(f"{stem(pool_file)}.*.features.parquet")
    )
    made = sorted((workspace() / "features").glob(f"{fingerprint}*.parquet"))
    return list(dict.fromkeys([*made, *beside] if pool_file.parent != DATA else [*beside, *made]))


def file_digest(path: Path) -> str:
    """16 hex digits of the file's content: what caches are keyed by."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def save_upload(name: str, content: bytes, *, who: str = COMMAND_LINE, store: Store | None = None) -> Path:
    """Keep an uploaded file in the workspace under its own name and content hash. Returns the path.

    Whole or absent, also where two sessions send the same file at once. Raises StoreError for who may not, PoolError
    where there is no room.
    """
    (store or open_store()).require(who, "reviewer")
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(name.replace("\x00", "_")).name)
    safe = _clipped(safe).lstrip(".") or "upload"
    folder = workspace() / "uploads"
    target = folder / f"{hashlib.sha256(content).hexdigest()[:8]}-{safe}"
    staging = target.with_name(f".{target.name[:60]}.{secrets.token_hex(8)}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                staging.write_bytes(content)
                os.replace(staging, target)
            finally:
                staging.unlink(missing_ok=True)
        return target.resolve()
    except OSError as error:
        raise PoolError(
            f"the upload {safe} cannot be kept ({error.strerror or error}); free some space in the workspace."
        ) from None


def _clipped(name: str) -> str:
    """The last characters of a name, so many as fit a file system (255 bytes) with a prefix."""
    while len(name.encode("utf-8", "replace")) > 120:
        name = name[1:]
    return name.encode("utf-8", "replace").decode("utf-8")
