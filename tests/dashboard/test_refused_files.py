"""Files that could do harm: compressed bombs, pickles, paths outside the allowed folders. Each refused in words."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard

from curation.batch.folder import CRITERION, read_criterion
from curation.dashboard.places import allowed_path
from curation.errors import CurationError
from curation.pool.files.lines import EXPANSION_FLOOR
from curation.representation.models import load_model
from curation.representation.space import Space
from curation.run.prepare import load_pool

ROOT = Path(__file__).resolve().parents[2]
ROW = json.dumps(
    {
        "prompt_id": "p",
        "prompt": "q",
        "responses": [{"response_id": "a", "text": "x"}, {"response_id": "b", "text": "y"}],
    }
)


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_file_that_expands_beyond_the_limit_is_refused_before_it_fills_memory(tmp_path: Path, kind: str) -> None:
    bomb = tmp_path / f"pool.jsonl.{kind}"
    blank = b" " * (1 << 20)
    count = 4 * (EXPANSION_FLOOR >> 20)
    if kind == "gz":
        with gzip.open(bomb, "wb") as out:
            out.write(ROW.encode() + b"\n")
            for _ in range(count):
                out.write(blank)
    else:
        made = zstandard.ZstdCompressor().compressobj()
        bomb.write_bytes(
            b"".join([made.compress(ROW.encode() + b"\n"), *(made.compress(blank) for _ in range(count)), made.flush()])
        )
    assert bomb.stat().st_size < EXPANSION_FLOOR / 100
    code = (
        "import resource, sys\n"
        "from curation.errors import CurationError\nfrom curation.run.prepare import load_pool\n"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load_pool(sys.argv[1])\nexcept CurationError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bomb)], capture_output=True, text=True, cwd=ROOT, check=True)
    words, grown = done.stdout.strip().splitlines()
    assert "expands to more than 64 MiB" in words
    assert "unpack it yourself" in words
    assert int(grown) < 4 * (EXPANSION_FLOOR >> 10), "KiB of memory: the line read so far, not the file"


def test_real_compression_is_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl.gz"
    rows = [ROW.replace('"p"', f'"p{k}"') for k in range(3000)]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    assert len(load_pool(path).pool.prompts) == 3000


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    trap = tmp_path / "harmed"
    space = tmp_path / "space.npz"
    np.savez(space, settings=np.array([Harm(trap)], dtype=object))
    with pytest.raises(CurationError):
        Space.load(space)
    folder = tmp_path / "batch"
    folder.mkdir()
    np.savez(folder / CRITERION, fisher=np.array([Harm(trap)], dtype=object), prior=np.zeros(1))
    with pytest.raises((CurationError, ValueError)):
        read_criterion(folder)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "gpt2"}')
    torch.save({"weights": Harm(trap)}, model / "pytorch_model.bin")
    with pytest.raises(CurationError, match="safetensors"):
        load_model(str(model), device="cpu")
    for name in ("pool.jsonl", "pool.parquet", "pool.csv"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(Harm(trap)))
        with pytest.raises(CurationError):
            load_pool(path, skip_rejects=False)
    assert not trap.exists()


def test_paths_outside_the_allowed_folders_are_refused_also_through_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, pools, secret = tmp_path / "home", tmp_path / "pools", tmp_path / "secret"
    for folder in (home, pools, secret):
        folder.mkdir()
        (folder / "pool.jsonl").write_text(ROW)
    monkeypatch.setenv("CURATION_HOME", str(home))
    monkeypatch.setenv("CURATION_POOLS", str(pools))
    assert allowed_path(pools / "pool.jsonl").is_file()
    (pools / "link.jsonl").symlink_to(secret / "pool.jsonl")
    for bad in (
        secret / "pool.jsonl",
        pools / ".." / "secret" / "pool.jsonl",
        pools / "link.jsonl",
        Path("/etc/passwd"),
    ):
        with pytest.raises(CurationError, match="outside"):
            allowed_path(bad)
