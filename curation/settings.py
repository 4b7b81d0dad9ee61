"""Every setting of a run, in one place, with its default and its rule."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from curation.errors import DesignError

PcaKind = Literal["within", "raw"]
FisherKind = Literal["auto", "reference", "empirical", "uniform"]
SpreadKind = Literal["auto", "balanced", "capped", "free"]
RidgeKind = Literal["relative", "absolute"]
SolverKind = Literal["newton", "frank-wolfe"]
SelectKind = Literal["sample", "exact", "paper"]
Quota = tuple[str, float, float]  # stratum, at least, at most
ABSOLUTE_RIDGE = 1e-3  # HGM's lambda: where to start with an absolute ridge

# What may be asked for at all. Widgets have these bounds too: an address must not ask for what they cannot show.
LABELS_MOST = 10_000_000  # of a batch, and of one prompt
COST_MOST = 1e15
RIDGE_LEAST, RIDGE_MOST = 1e-12, 1e12
TEMPERATURE_LEAST, TEMPERATURE_MOST = 1e-3, 1e6
DIM_MOST = 100_000
SEED_MOST = 2**53 - 1  # the largest whole number a browser holds
OVERLAP_MOST = 0.5
LENGTH_DIFFERENCE_MOST = 100.0  # of logarithms


@dataclass(frozen=True)
class SpaceSettings:
    """How hidden states become coordinates (docs/method.md section 3)."""

    dim: int = 64  # PCA dimensions; the length coordinate comes on top
    normalize: bool = True  # L2-normalise each hidden vector first
    pca: PcaKind = "within"
    length: bool = True  # append the within-prompt centred log length

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= DIM_MOST:
            raise DesignError(f"--dim {_figure(self.dim)} is outside 1..{DIM_MOST:,}; choose at least one dimension.")


@dataclass(frozen=True)
class DesignSettings:
    """What is asked of the design (docs/method.md sections 2, 4, 7 and 8)."""

    budget: float | int  # whole labels, or cost units where there is a cost
    ridge: float = 0.1
    ridge_kind: RidgeKind = "relative"
    prior_power: float = 0.5  # a of Lambda ~ M^a: 0 all directions alike, 1 each as it matters
    fisher: FisherKind = "auto"
    temperature: float = 1.0  # of the empirical Fisher's softmax
    per_token: bool = True  # the empirical Fisher takes log-probabilities per token, where counts are known
    spread: SpreadKind = "capped"
    max_labels_per_pair: float = 1.0  # r; math.inf is the paper's simplex
    per_prompt: int | None = None  # labels of one prompt, at most
    quotas: tuple[Quota, ...] = ()  # in units of the budget
    generator_share: float | None = None  # greatest share of the labels one generator takes part in
    max_length_difference: float | None = None  # mean |log length difference| over the labels, at most
    cost: str | None = None  # field of `meta` that holds costs, or `characters`
    solver: SolverKind = "newton"
    tol: float = 1e-4
    select: SelectKind = "sample"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        self._check_budget()
        if not (self.ridge > 0 and math.isfinite(self.ridge)):
            raise DesignError(
                f"ridge {self.ridge} is not a positive number; try {DesignSettings.ridge:g} (relative) or "
                f"{ABSOLUTE_RIDGE:g} (absolute)."
            )
        if not RIDGE_LEAST <= self.ridge <= RIDGE_MOST:
            raise DesignError(
                f"ridge {_figure(self.ridge)} is outside {RIDGE_LEAST:g}..{RIDGE_MOST:g}, where it can be told from "
                f"rounding; try {DesignSettings.ridge:g} (relative) or {ABSOLUTE_RIDGE:g} (absolute)."
            )
        if not 0 <= self.prior_power <= 1:
            raise DesignError(
                f"--prior-power {self.prior_power:g} is outside 0..1; try {DesignSettings.prior_power:g}."
            )
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise DesignError(f"--temperature {self.temperature:g} is not a positive number; try 1.")
        if not TEMPERATURE_LEAST <= self.temperature <= TEMPERATURE_MOST:
            raise DesignError(
                f"--temperature {_figure(self.temperature)} is outside {TEMPERATURE_LEAST:g}.."
                f"{TEMPERATURE_MOST:g}; try 1."
            )
        if not self.max_labels_per_pair >= 1:
            raise DesignError(
                f"--max-labels-per-pair {self.max_labels_per_pair} is below 1; give a whole number or inf."
            )
        if not (0 < self.tol < 1):
            raise DesignError(f"--tol {self.tol} is outside (0, 1); try 1e-4.")
        if self.seed < 0:
            raise DesignError(f"--seed {_figure(self.seed)} is negative; give 0 or more.")
        if self.seed > SEED_MOST:
            raise DesignError(f"--seed {_figure(self.seed)} is above {SEED_MOST}; give a smaller one.")
        if self.per_prompt is not None and self.per_prompt < 1:
            raise DesignError(
                f"--per-prompt {_figure(self.per_prompt)} is below 1; give 1 label or more, or leave it out."
            )
        if self.per_prompt is not None and self.per_prompt > LABELS_MOST:
            raise DesignError(f"--per-prompt {_figure(self.per_prompt)} is above {LABELS_MOST:,}; leave it out.")
        if self.generator_share is not None and not 0 < self.generator_share <= 1:
            raise DesignError(
                f"--generator-share {self.generator_share:g} is outside (0, 1]; try 0.3, or leave it out."
            )
        if self.max_length_difference is not None and self.max_length_difference > LENGTH_DIFFERENCE_MOST:
            raise DesignError(
                f"--max-length-difference {_figure(self.max_length_difference)} is above {LENGTH_DIFFERENCE_MOST:g}, "
                "which no two answers reach; try 0.3, or leave it out."
            )
        if self.max_length_difference is not None and not (0 < self.max_length_difference < math.inf):
            raise DesignError(
                f"--max-length-difference {self.max_length_difference:g} is not a positive number; try 0.3, or "
                "leave it out."
            )
        check_quotas(self.quotas)

    def _check_budget(self) -> None:
        if self.cost is not None:
            if not self.cost.strip():
                raise DesignError("--cost is empty; name a field of the pool's meta, or characters.")
            if not 0 < self.budget <= COST_MOST:
                raise DesignError(
                    f"budget {_figure(self.budget)} is not a positive number up to {COST_MOST:g}; give it in units of "
                    "the cost."
                )
            return
        if self.budget > LABELS_MOST:
            raise DesignError(f"budget {_figure(self.budget)} is above {LABELS_MOST:,} labels; ask for fewer.")
        if not float(self.budget).is_integer():
            raise DesignError(f"budget {self.budget:g} is not a whole number of labels; round it, or give --cost.")
        if self.budget < 1:
            raise DesignError(f"budget {self.budget:g} is below 1; ask for at least one label.")


def _figure(value: float) -> str:
    """A number for messages, whatever its size."""
    return f"{value:g}" if not 1e300 < abs(value) < math.inf else "with more than 300 digits"


def parse_quota(text: str) -> Quota:
    """`stratum=LO..HI` as (stratum, LO, HI); an empty LO is 0, an empty HI no bound. Raises DesignError."""
    name, _, span = text.rpartition("=")
    low, dots, high = (part.strip() for part in span.partition(".."))
    try:
        if not (name.strip() and dots):
            raise ValueError
        return name.strip(), float(low or 0.0), float(high or math.inf)
    except ValueError:
        raise DesignError(
            f"quota {text.strip()!r} is not stratum=LO..HI; write law=10..40, law=10.. or law=..40."
        ) from None


def parse_quotas(text: str) -> tuple[Quota, ...]:
    """Quotas in one text, `a=1..5;b=..9`. Raises DesignError where one cannot be read or is no range."""
    quotas = tuple(parse_quota(part) for part in text.split(";") if part.strip())
    check_quotas(quotas)
    return quotas


def check_quotas(quotas: Sequence[Quota]) -> None:
    """Every quota a range from 0 up, every stratum named once. Raises DesignError."""
    seen = set()
    for name, low, high in quotas:
        if not (0 <= low <= high and math.isfinite(low)):
            raise DesignError(f"quota {name}={low:g}..{high:g} is not a range from 0 up; put the smaller number first.")
        if name in seen:
            raise DesignError(f"quota {name} is given twice; give each stratum one range.")
        seen.add(name)


# Every other place reads its defaults from these two.
DEFAULT_SPACE = SpaceSettings()
DEFAULT_DESIGN = DesignSettings(budget=1)
# Defaults of 0.2.0 that have changed since: what a batch or scenario of that time means where it does not say.
BEFORE: Mapping[str, Any] = MappingProxyType({"ridge": 30.0, "spread": "auto", "length": True, "prior_power": 0.0})


def kept_space(kept: Mapping[str, Any]) -> SpaceSettings:
    """Space settings as a file keeps them; what an old file does not say has the default of its time."""
    return SpaceSettings(**_typed(_KEPT_SPACE, _known(SpaceSettings, {**BEFORE, **kept})))


def kept_design(kept: Mapping[str, Any]) -> DesignSettings:
    """Design settings as a file keeps them (infinity as text); what an old file does not say has its time's default."""
    plain: dict[str, Any] = {k: math.inf if value == "inf" else value for k, value in {**BEFORE, **kept}.items()}
    plain["quotas"] = _kept_quotas(plain.get("quotas") or ())
    return DesignSettings(**_typed(_KEPT_DESIGN, _known(DesignSettings, plain)))


def _kept_quotas(kept: Any) -> Any:
    """Quotas as a file keeps them, as tuples; what is no list of triples is left for the types to refuse."""
    if not isinstance(kept, list | tuple):
        return kept
    if not all(isinstance(part, list | tuple) and len(part) == 3 for part in kept):
        return kept
    return tuple((name, low, math.inf if high in ("inf", None) else high) for name, low, high in kept)


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that are fields of a dataclass."""
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def _model(kind: type) -> type[BaseModel]:
    """A model with the fields of a dataclass, each of its own type and no other."""
    hints = get_type_hints(kind)
    shapes: dict[str, Any] = {f.name: (hints[f.name], ... if f.default is MISSING else f.default) for f in fields(kind)}
    return create_model(f"Kept{kind.__name__}", __config__=ConfigDict(strict=True), **shapes)


_KEPT_SPACE, _KEPT_DESIGN = _model(SpaceSettings), _model(DesignSettings)


def _typed(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """The values, if each has its type. Raises DesignError naming the first that has not."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise DesignError(f"the kept setting {name} cannot be used: {first['msg'].lower()}; set it anew.") from None
    return values


@dataclass(frozen=True)
class Preset:
    """Settings with a name. values: by the names of SpaceSettings and DesignSettings, the same ones in every preset."""

    title: str
    values: Mapping[str, Any]

    def space(self, own: SpaceSettings = DEFAULT_SPACE) -> SpaceSettings:
        """The preset's space; what it does not govern is `own`'s."""
        return replace(own, **_known(SpaceSettings, self.values))

    def design(self, own: DesignSettings = DEFAULT_DESIGN) -> DesignSettings:
        """The preset's design; what it does not govern, the budget for one, is `own`'s."""
        return replace(own, **_known(DesignSettings, self.values))


_GOVERNED = (
    "ridge",
    "ridge_kind",
    "prior_power",
    "spread",
    "select",
    "max_labels_per_pair",
    "normalize",
    "pca",
    "length",
)
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(
            "Default",
            {name: getattr(DEFAULT_DESIGN, name, getattr(DEFAULT_SPACE, name, None)) for name in _GOVERNED},
        ),
        "hgm": Preset(
            "HGM as published",
            {
                "ridge": ABSOLUTE_RIDGE, "ridge_kind": "absolute", "prior_power": 0.0, "spread": "free",
                "select": "paper", "max_labels_per_pair": math.inf, "normalize": False, "pca": "raw", "length": False,
            },
        ),
        "0.2.0": Preset(
            "0.2.0 default",
            {
                **BEFORE, "ridge_kind": "relative", "select": "sample", "max_labels_per_pair": 1.0, "normalize": True,
                "pca": "within",
            },
        ),
    }
)  # fmt: skip


def default_budget(prompts: int) -> int:
    """A first budget to look at: about 0.6 labels a prompt, between 10 and 500."""
    return int(min(500, max(10, round(0.6 * prompts))))


def workspace() -> Path:
    """The folder of the database, runs, caches and logs: CURATION_HOME, else ./workspace."""
    return Path(os.environ.get("CURATION_HOME", "workspace")).expanduser()


def model_cache() -> Path:
    """What models are made from is kept here: CURATION_HOME/models where that is set, else ~/.cache/pairwright."""
    home = os.environ.get("CURATION_HOME")
    return Path(home).expanduser() / "models" if home else Path.home() / ".cache" / "pairwright"


def app_folder() -> Path:
    """Where app.py, pages/ and data/ lie: the checkout, else the installed package `pairwright_app`."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "app.py").is_file():
        return checkout
    return checkout / "pairwright_app"


SIGNING_KEY = "CURATION_SIGNING_KEY"


def signing_key_file() -> Path:
    """The private key that signs: CURATION_SIGNING_KEY, else ~/.config/pairwright/signing_key.pem."""
    given = os.environ.get(SIGNING_KEY)
    return Path(given or Path.home() / ".config" / "pairwright" / "signing_key.pem").expanduser()


def pool_folders() -> list[Path]:
    """Folders that pools may be opened from besides the workspace and data/: CURATION_POOLS, `:`-separated."""
    value = os.environ.get("CURATION_POOLS", "../shared/pools")
    return [Path(part).expanduser() for part in value.split(os.pathsep) if part]
