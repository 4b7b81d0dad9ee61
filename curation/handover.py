"""From a solved batch to annotators: save and register, decide, export what was approved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curation.batch import BatchFolder, read_batch
from curation.errors import ExportError
from curation.pipeline import Solved
from curation.pool.pair_lists import LocalPair
from curation.settings import workspace
