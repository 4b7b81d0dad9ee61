""""""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def manifest_with(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, value in changes.items():
        if name == "seed":
            manifest["settings"]["seed"] = value
        else:
            manifest[name] = value
    path.write_text(json.dumps(manifest, indent=1) + "\n")
