"""`import pairwright as pw`: the library in ten names (`curation.api`)."""

from curation import __version__
from curation.api import (
    Batch,
    CurationError,
    DesignSettings,
    Represented,
    Run,
    make_features,
    open_batch,
    read_pool,
    represent,
    solve,
)

__all__ = [
    "Batch",
    "CurationError",
    "DesignSettings",
    "Represented",
    "Run",
    "__version__",
    "make_features",
    "open_batch",
    "read_pool",
    "represent",
    "solve",
]
