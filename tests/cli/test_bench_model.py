"""`bench --model`: the row of a real model on a real pool, against its bare passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.cli.app import main
from curation.representation.encoder import Encoder
from curation.representation.models import load_model
from curation.run.prepare import load_pool
from tests.desk.pools import demo_pool
from tests.desk.tiny_models import save_model


def test_a_models_row_counts_what_it_read(tmp_path: Path, capfd: Any) -> None:
    folder = save_model(tmp_path / "m", "llama", chat=True, positions=4096)
    asked = ["bench", "--model", str(folder), "--pool", str(demo_pool()), "--prompts", "3", "--repeats", "1"]
    assert main([*asked, "--json"]) == 0
    row = json.loads(capfd.readouterr().out)["extraction"][0]
    prompts = load_pool(demo_pool()).pool.prompts[:3]
    texts = [[r.text for r in p.responses] for p in prompts]
    encoder = Encoder(load_model(str(folder), device="cpu"), reuse=False)
    batches = encoder.whole_batches([p.prompt for p in prompts], texts)  # type: ignore[misc]
    assert row["tokens"] == sum(len(one.ids) for batch in batches for one in batch)
    assert row["seconds_per_response"] * sum(map(len, texts)) == pytest.approx(row["once_seconds"])
    assert row["whole_over_bare"] == pytest.approx(row["whole_seconds"] / row["bare_seconds"])
    assert main(asked) == 0
    assert "s a response" in capfd.readouterr().out


def test_a_model_without_a_pool_is_told(tmp_path: Path, capfd: Any) -> None:
    assert main(["bench", "--model", "m"]) == 2
    assert "belong together" in capfd.readouterr().err
