"""The guidelines that annotators of a batch are given: a Markdown file of the batch folder, named in its manifest."""

from __future__ import annotations

from pathlib import Path

from curation.batch.folder import GUIDELINES, BatchFolder, guidelines_hash
from curation.errors import BatchError
from curation.system.files import read_text, shown_path

MOST = 1 << 20  # bytes


def read_guidelines(path: str | Path) -> str:
    """The text of a Markdown file that is to become a batch's guidelines. Raises BatchError."""
    text = read_text(path, most=MOST, error=BatchError, remedy="save the guidelines as UTF-8").lstrip("\ufeff")
    if not text.strip() or "\0" in text:
        what = "holds the character NUL, which annotation tools refuse" if text.strip() else "is empty"
        raise BatchError(f"{shown_path(path)} {what}; give guidelines in words, or leave out --guidelines.")
    return text


def guidelines_of(batch: BatchFolder) -> str | None:
    """A batch's guidelines, None where it has none. Raises BatchError where they are not those of its manifest."""
    digest = batch.manifest.get("guidelines")
    if digest is None:
        return None
    place = batch.path / GUIDELINES
    text = read_text(place, most=MOST, error=BatchError, remedy="it was damaged or changed")
    if guidelines_hash(text) != digest:
        raise BatchError(
            f"{place} is not what the manifest names; bring the file back, or solve again with --guidelines."
        )
    return text
