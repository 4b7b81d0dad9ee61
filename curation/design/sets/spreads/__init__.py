"""How a budget is spread over the prompts: one file a spread, each offering one as `PLUG`."""

from curation.design.sets.feasible import Spread
from curation.errors import DesignError
from curation.registry import Registry

SPREADS: Registry[Spread] = Registry("curation.design.sets.spreads", "spread", DesignError)
