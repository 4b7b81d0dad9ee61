"""Results of DPO on bought answers that travel with the program, for a newcomer to see at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from curation.experiments.stages import load_json, save_json
from curation.settings import app_folder

NAME = "evidence.json"  # in the folder of the bundled data
_KEPT = ("kind", "pool", "unit", "prompts", "answers", "seconds", "table", "leads", "verdict", "sentences")
_SETTINGS = (
    "rules", "budgets", "seeds", "tokens", "layers", "judged", "shown", "temperature", "dtype", "pooling", "training",
)  # fmt: skip


def bundled() -> list[dict[str, Any]]:
    """What travels with the program: one entry a pool, as `slim` leaves it. Empty where there is none."""
    try:
        found = load_json(app_folder() / "data" / NAME)
    except (OSError, ValueError):
        return []
    return list(found["answers"])


def slim(result: dict[str, Any], *, model: str) -> dict[str, Any]:
    """A result of `run_answers` without what each prompt said. model: its public name instead of a folder."""
    settings = {name: result["settings"][name] for name in _SETTINGS}
    kl = [{key: point[key] for key in ("rule", "budget", "seed", "kl", "labels")} for point in result["points"]]
    return {**{name: result[name] for name in _KEPT}, "model": model, "settings": settings, "points": kl}


def main() -> None:
    """`python -m curation.experiments.bundled --model NAME RESULT...`: gather results into the bundled file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", required=True, help="Public name of the model that was trained.")
    parser.add_argument("results", nargs="+", type=Path, help="result.json of `experiment answers`.")
    asked = parser.parse_args()
    found = [slim(load_json(path), model=asked.model) for path in asked.results]
    save_json(app_folder() / "data" / NAME, {"answers": found})


if __name__ == "__main__":
    main()
