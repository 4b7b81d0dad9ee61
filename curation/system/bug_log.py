"""Errors that nobody foresaw: written whole to errors.log in the workspace, told in one sentence."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

from curation.errors import CurationError
from curation.settings import workspace
from curation.system.files import out_of_memory

LOGGER = logging.getLogger(__name__)


def errors_log() -> Path:
    """Where unforeseen errors are written."""
    return workspace() / "logs" / "errors.log"


def sentence(error: BaseException, *, doing: str) -> str:
    """What to tell of any error. doing: what was being done, for the log; unforeseen errors are written there first."""
    if isinstance(error, CurationError):
        return str(error)
    if isinstance(error, MemoryError):
        _write(error, doing)
        return f"{out_of_memory()[0].upper()}{out_of_memory()[1:]}"
    if isinstance(error, OSError):
        _write(error, doing)
        place = f" ({Path(str(error.filename)).name})" if error.filename else ""
        return f"The system refused: {error.strerror or type(error).__name__}{place}; details in {errors_log()}."
    _write(error, doing)
    return f"Unexpected {type(error).__name__}; nothing more was done. The details are in {errors_log()}."


def _write(error: BaseException, doing: str) -> None:
    """Append the traceback; where that cannot be done, it goes to the process's own log."""
    told = "".join(traceback.format_exception(error))
    try:
        errors_log().parent.mkdir(parents=True, exist_ok=True)
        with errors_log().open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {doing}\n{told}\n")
    except OSError as problem:
        LOGGER.error("%s cannot be written (%s); %s\n%s", errors_log(), problem, doing, told)
