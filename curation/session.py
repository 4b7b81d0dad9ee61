"""What a dashboard session is looking at: pool, features, settings; readable from and writable to a URL."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from curation.errors import CurationError, PoolError
from curation.settings import DesignSettings, SpaceSettings, default_budget, parse_quotas, pool_folders, workspace

POOL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv", ".json", ".json.gz")
DEMO = "demo"
DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class View:
    """Everything that decides what the pages show. Names are short because they stand in the URL.

    pool: `demo` or a path in an allowed folder. features: "" means the file found beside the pool.
    """

    pool: str = DEMO
    features: str = ""
    budget: int = 0  # 0: a default by the pool's size
    ridge: float = 30.0
    ridge_kind: str = "relative"
    dim: int = 64
    normalize: bool = True
    pca: str = "within"
    length: bool = True
    fisher: str = "auto"
    temperature: float = 1.0
    per_token: bool = True
    spread: str = "auto"
    max_labels: float = 1.0
    per_prompt: int = 0  # 0: no own cap
    quotas: str = ""  # a=1..5;b=..9
    generator_share: float = 0.0  # 0: no cap
    cost: str = ""
    overlap: float = 0.0
    select: str = "sample"
    seed: int = 0
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
            fisher=self.fisher,  # type: ignore[arg-type]
            temperature=self.temperature,
            per_token=self.per_token,
            spread=self.spread,  # type: ignore[arg-type]
            max_labels_per_pair=self.max_labels,
            per_prompt=self.per_prompt or None,
            quotas=parse_quotas(self.quotas),
            generator_share=self.generator_share or None,
            cost=self.cost or None,
            select=self.select,  # type: ignore[arg-type]
            seed=self.seed,
        )

    def to_query(self) -> dict[str, str]:
        """Only what differs from the defaults, as text for a URL."""
        plain = View()
        return {
            f.name: _text(getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != getattr(plain, f.name)
        }


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def view_from_query(query: Mapping[str, str]) -> View:
    """The view a URL asks for; names and values it does not know are left at their defaults."""
    view = View()
    for f in fields(View):
        if f.name not in query:
            continue
        text, default = query[f.name], getattr(view, f.name)
        try:
            if isinstance(default, bool):
                value: Any = text == "1"
            elif isinstance(default, int):
                value = int(text)
            elif isinstance(default, float):
                value = float(text)
                if math.isnan(value):
                    continue
            else:
                value = text
            candidate = replace(view, **{f.name: value})
            candidate.space_settings()
            candidate.design_settings(10)
        except (ValueError, CurationError):
            continue
        view = candidate
    choices = {
        "ridge_kind": ("relative", "absolute"),
        "pca": ("within", "raw"),
        "fisher": ("auto", "reference", "empirical", "uniform"),
        "spread": ("auto", "balanced", "capped", "free"),
        "select": ("sample", "exact", "paper"),
    }
    for name, allowed in choices.items():
        if getattr(view, name) not in allowed:
            view = replace(view, **{name: getattr(View(), name)})
    return view


def allowed_folders() -> list[Path]:
    """Where pools and features may be opened from: the workspace, data/ and CURATION_POOLS."""
    return [workspace(), DATA, *pool_folders()]


def allowed_path(path: str | Path) -> Path:
    """The file, if it lies in an allowed folder. Raises PoolError otherwise."""
    resolved = Path(path).expanduser().resolve()
    for folder in allowed_folders():
        if resolved.is_relative_to(folder.expanduser().resolve()):
            if not resolved.is_file():
                raise PoolError(f"{path} does not exist or is not a file; choose one from the list.")
            return resolved
    raise PoolError(
        f"{path} is outside the folders this dashboard may open; put it in the workspace, or name its folder in "
        "CURATION_POOLS."
    )


def pool_path(name: str) -> Path:
    """The file of `demo` or of a path in an allowed folder. Raises PoolError."""
    return DATA / "demo.jsonl.gz" if name == DEMO else allowed_path(name)


def list_pools() -> list[Path]:
    """Files in the allowed folders that look like pools, features files left out."""
    found = []
    for folder in allowed_folders():
        for place in (folder, folder / "pools", folder / "uploads"):
            if place.is_dir():
                found += [p for p in sorted(place.iterdir()) if p.name.endswith(POOL_SUFFIXES) and p.is_file()]
    return [p for p in dict.fromkeys(found) if ".features." not in p.name and not p.name.startswith("demo.")]


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


def save_upload(name: str, content: bytes) -> Path:
    """Keep an uploaded file in the workspace under its own name and content hash. Returns the path."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(name).name)[-120:].lstrip(".") or "upload"
    folder = workspace() / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{hashlib.sha256(content).hexdigest()[:8]}-{safe}"
    if not target.exists():
        staging = target.with_name(f".{target.name}.part")
        staging.write_bytes(content)
        staging.rename(target)
    return target.resolve()
