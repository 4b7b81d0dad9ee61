"""Every setting of a run, declared once: its default, its rule, and what options, addresses and pages make of it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from curation.declared import (
    UNSAID,
    declared,
    declared_without_default,
    figure,
    from_file,
    in_groups,
    judge,
    of_kind,
    setting,
    typed,
)
from curation.errors import DesignError
from curation.registry import Registry
from curation.setting_rules import (
    ABSOLUTE_RIDGE,
    COST_MOST,
    DIM_MOST,
    LABELS_MOST,
    LENGTH_DIFFERENCE_MOST,
    RIDGE,
    RIDGE_LEAST,
    RIDGE_MOST,
    SEED_MOST,
    TEMPERATURE_LEAST,
    TEMPERATURE_MOST,
    Quota,
    check_generator_share,
    check_labels_per_pair,
    check_length_difference,
    check_per_prompt,
    check_quotas,
    check_ridge,
    check_seed,
    check_temperature,
    check_tol,
    kept_quotas,
    labels_per_pair,
    parse_quota,
    parse_quotas,
)

PcaKind = Literal["within", "raw"]
SpreadKind = Literal["auto", "balanced", "capped", "free"]
RidgeKind = Literal["relative", "absolute"]
SolverKind = Literal["newton", "frank-wolfe"]
SelectKind = Literal["sample", "exact", "paper"]
PresetKind = Literal["default", "hgm", "0.2.0"]


# fmt: off
@dataclass(frozen=True)
class SpaceSettings:
    """How hidden states become coordinates (docs/method.md section 3)."""

    dim: int = setting(
        64, group="space", since="0.2.0", help="PCA dimensions; the length coordinate comes on top.",
        least=1, most=DIM_MOST, remedy="choose at least one dimension.",
        label="PCA dimensions", told="The length coordinate comes on top.",
    )
    normalize: bool = setting(
        True, group="space", since="0.2.0", hgm=False, help="L2-normalise each hidden state.", label="L2-normalise",
        told="",
    )
    pca: PcaKind = setting(
        "within", group="space", since="0.2.0", hgm="raw", help="What the PCA is fitted on.", label="PCA on",
        told="within: responses centred within their prompt, which cancels what the prompt alone explains.",
    )
    length: bool = setting(
        True, group="space", since="0.2.0", before=True, hgm=False, help="Add the length coordinate.",
        label="Length coordinate", told="",
    )

    def __post_init__(self) -> None:
        judge(self)


@dataclass(frozen=True)
class DesignSettings:
    """What is asked of the design (docs/method.md sections 2, 4, 7 and 8)."""

    budget: float | int = declared_without_default(
        group="budget", since="0.2.0", backtest=False, help="Labels to buy; with --cost, in units of the cost.",
    )
    ridge: float = setting(
        RIDGE, group="prior", since="0.2.0", before=30.0, hgm=ABSOLUTE_RIDGE, help="Prior information per direction.",
        least=RIDGE_LEAST, most=RIDGE_MOST, check=check_ridge,
        told="Prior information per direction. Relative: 1 is as much as one average direction of a uniform label. "
        "Small: teach every direction; large: take the pairs with the largest Fisher length.",
    )
    ridge_kind: RidgeKind = setting(
        "relative", group="prior", since="0.2.0", hgm="absolute", help="Unit of the ridge.", label="Ridge unit",
        told="",
    )
    prior_power: float = setting(
        0.5, group="prior", since="0.3.0", before=0.0, hgm=0.0, least=0.0, most=1.0, step=0.25,
        help="a of the prior M^a: 0 all directions alike, 1 each as it matters.",
        told="0: the prior says the same of every direction; 1: each direction's prior is as large as what it matters; "
        "between: between. Above 0, a few dominating directions no longer set the prior of all.",
    )
    criterion: str = setting(
        "trace", group="prior", since="0.3.0", help="What the design minimises.",
        choices=(Registry("curation.design.criteria", "criterion"),),
        told="trace: every direction as much as the reference policy moves in it; determinant: all directions alike, "
        "whatever the policy. Explanations of another criterion than the trace have no shares by direction.",
    )
    fisher: str = setting(
        "auto", group="fisher", since="0.2.0", prepares=True, help="Policy of the Fisher matrix.",
        choices=(Registry("curation.representation.fisher", "Fisher kind"),),
        told="Whose probabilities weigh the directions.",
    )
    temperature: float = setting(
        1.0, group="fisher", since="0.3.0", prepares=True,
        help="Of the empirical Fisher matrix's probabilities.",
        least=TEMPERATURE_LEAST, most=TEMPERATURE_MOST, check=check_temperature, step=0.1,
        told="Of the softmax over a prompt's candidates.",
    )
    per_token: bool = setting(
        True, group="fisher", since="0.3.0", prepares=True,
        help="Empirical Fisher: log-probabilities per token.", label="Log-probabilities per token", told="",
    )
    spread: SpreadKind = setting(
        "capped", group="limits", since="0.2.0", before="auto", hgm="free", help="How labels spread over prompts.",
        told="balanced: every prompt gets its share; capped: the design also chooses prompts; free: no bound.",
    )
    per_prompt: int | None = setting(
        None, group="limits", since="0.2.0", help="Labels of one prompt, at most.",
        most=LABELS_MOST, check=check_per_prompt, label="Labels per prompt, at most (0: no own cap)", told="",
    )
    max_labels_per_pair: float = setting(
        1.0, group="limits", since="0.2.0", hgm=math.inf, help="1, a whole number, or inf.",
        check=check_labels_per_pair, text=labels_per_pair, key="max_labels", label="Labels per pair, at most",
    )  # r; math.inf is the paper's simplex
    quotas: tuple[Quota, ...] = setting(
        (), group="limits", since="0.2.0", backtest=False,
        help="stratum=LO..HI, either end may be left out; repeatable.",
        check=check_quotas, option="quota", text=parse_quota, many=True, held=parse_quotas, kept=kept_quotas,
        hint="law=10..40;chat=..20", told="Labels of a stratum, from .. to; separate by ;",
    )  # in units of the budget
    generator_share: float | None = setting(
        None, group="limits", since="0.2.0", help="Share of the labels one generator takes part in, at most.",
        most=1.0, check=check_generator_share, step=0.05, label="Greatest share of one generator (0: no cap)",
        told="No generator takes part in more than this share of the labels.",
    )
    max_length_difference: float | None = setting(
        None, group="limits", since="0.3.0", most=LENGTH_DIFFERENCE_MOST, check=check_length_difference, step=0.05,
        help="Mean |log length difference| of the pairs, at most (0.69: one is twice as long). Drawn batches keep it "
        "in expectation, each to within a few labels; --select exact never exceeds it.",
        label="Mean length difference, at most (0: no limit)",
        told="Mean over the labels of |log length difference| in characters: 0.69 where one response is twice as long. "
        "A drawn batch keeps it to within a few labels, an exact one never exceeds it.",
    )
    cost: str | None = setting(
        None, group="limits", since="0.2.0", backtest=False,
        help="Field of meta with the cost of a label, or `characters` (thousands).",
        label="Cost column", hint="characters",
        told="A number in the meta of prompts and responses, summed over the pair; characters: thousands of "
        "characters to read. The budget is then in these units.",
    )
    solver: SolverKind = setting(
        "newton", group="solving", since="0.2.0", backtest=False, key=None,
        help="frank-wolfe is the published yardstick.",
    )
    tol: float = setting(
        1e-4, group="solving", since="0.2.0", backtest=False, key=None, check=check_tol,
        help="Stop when gap and open are at most this.",
    )
    select: SelectKind = setting(
        "sample", group="solving", since="0.2.0", hgm="paper", label="Selection",
        help="From weights to pairs: exact improves by exchange, without chance.",
        told="sample: pivotal sampling, inclusion probabilities exact; exact: round and improve by exchange; "
        "deterministic; no inclusion probabilities; paper: sequential draws by weight.",
    )
    seed: int = setting(
        0, group="solving", since="0.2.0", backtest=False, help="Seed of the draw.",
        least=0, most=SEED_MOST, check=check_seed, told="",
    )
    device: str = setting(
        "auto", group="solving", since="0.2.0", in_id=False, backtest=False, key=None, help="auto, cpu or cuda.",
    )

    def __post_init__(self) -> None:
        self._check_budget()
        judge(self)

    def _check_budget(self) -> None:
        if self.cost is not None:
            if not self.cost.strip():
                raise DesignError("--cost is empty; name a field of the pool's meta, or characters.")
            if not 0 < self.budget <= COST_MOST:
                raise DesignError(
                    f"budget {figure(self.budget)} is not a positive number up to {COST_MOST:g}; give it in units of "
                    "the cost."
                )
            return
        if self.budget > LABELS_MOST:
            raise DesignError(f"budget {figure(self.budget)} is above {LABELS_MOST:,} labels; ask for fewer.")
        if not float(self.budget).is_integer():
            raise DesignError(f"budget {self.budget:g} is not a whole number of labels; round it, or give --cost.")
        if self.budget < 1:
            raise DesignError(f"budget {self.budget:g} is below 1; ask for at least one label.")
# fmt: on


# Every other place reads its defaults from these two, and what there is to set from SETTINGS.
DEFAULT_SPACE = SpaceSettings()
DEFAULT_DESIGN = DesignSettings(budget=1)
SETTINGS = in_groups(DesignSettings, SpaceSettings)
# Defaults of 0.2.0 that have changed since: what a batch or scenario of that time means where it does not say.
BEFORE: Mapping[str, Any] = MappingProxyType({s.name: s.before for s in SETTINGS if s.before is not UNSAID})


def kept_space(kept: Mapping[str, Any]) -> SpaceSettings:
    """Space settings as a file keeps them; what an old file does not say has the default of its time."""
    return SpaceSettings(**_kept(SpaceSettings, kept))


def kept_design(kept: Mapping[str, Any]) -> DesignSettings:
    """Design settings as a file keeps them (infinity as text); what an old file does not say has its time's default."""
    return DesignSettings(**_kept(DesignSettings, kept))


def _kept(kind: type, kept: Mapping[str, Any]) -> dict[str, Any]:
    return typed(kind, from_file(kind, of_kind(kind, {**BEFORE, **kept})))


def preparing(settings: DesignSettings) -> dict[str, Any]:
    """Those settings of a design that its pool and features are prepared by: what `prepare` takes by these names."""
    return {s.name: getattr(settings, s.name) for s in declared(DesignSettings) if s.prepares}


def without_limits(settings: DesignSettings) -> DesignSettings:
    """The settings with every limit at None that may be."""
    lifted: dict[str, Any] = {s.name: None for s in declared(DesignSettings) if s.group == "limits" and s.optional}
    return replace(settings, **lifted)


@dataclass(frozen=True)
class Preset:
    """Settings with a name. values: by the names of SpaceSettings and DesignSettings, the same ones in every preset."""

    title: str
    values: Mapping[str, Any]

    def space(self, own: SpaceSettings = DEFAULT_SPACE) -> SpaceSettings:
        """The preset's space; what it does not govern is `own`'s."""
        return replace(own, **of_kind(SpaceSettings, self.values))

    def design(self, own: DesignSettings = DEFAULT_DESIGN) -> DesignSettings:
        """The preset's design; what it does not govern, the budget for one, is `own`'s."""
        return replace(own, **of_kind(DesignSettings, self.values))


_GOVERNED = [s for s in SETTINGS if s.hgm is not UNSAID]
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset("Default", {s.name: s.default for s in _GOVERNED}),
        "hgm": Preset("HGM as published", {s.name: s.hgm for s in _GOVERNED}),
        "0.2.0": Preset("0.2.0 default", {s.name: s.at_first for s in _GOVERNED}),
    }
)


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
