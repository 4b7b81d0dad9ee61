"""The library's words as pages say them: settings by the names of their controls, no options, no server's folders."""

from __future__ import annotations

import re

from curation.dashboard.places import allowed_folders
from curation.settings import SETTINGS

_OPTION = re.compile(r"`?--(no-)?([a-z][a-z0-9-]*)`?")
_COMMAND = re.compile(r" ?\(`[a-z-]+ (?:DIR|POOL)[^`]*`\)")
_LABELS = {setting.name.replace("_", "-"): setting.label for setting in SETTINGS if setting.label}
_LABELS |= {
    "labels-per-pair": "Labels per pair",
    "max-labels-per-pair": "Labels per pair",
    "per-prompt": "Labels per prompt",
    "model": "Model",
    "layer": "Layer",
    "pooling": "Pooling",
    "annotator": "Annotator",
    "map": "the columns",
    "out": "place",
}


def on_a_page(text: str) -> str:
    """A sentence of the library for the pages. `--ridge` becomes “Ridge”, /home/us/workspace/a.csv becomes a.csv."""
    for folder in sorted({str(f.expanduser().absolute()) for f in allowed_folders()}, key=len, reverse=True):
        for part in ("/pools/", "/uploads/", "/features/", "/"):
            text = text.replace(f"{folder}{part}", "")
    text = _COMMAND.sub("", text)
    return _OPTION.sub(lambda found: f"“{_label(found.group(1) or '', found.group(2))}”", text)


def _label(negated: str, option: str) -> str:
    name = _LABELS.get(option, option.replace("-", " "))
    return f"no {name}" if negated else name
