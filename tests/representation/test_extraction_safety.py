"""Long work is safe: killed, interrupted, out of disk, without a network, or asked to run somebody's code."""

from __future__ import annotations

import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import FeaturesError, RepresentationError
from curation.representation import extract as extract_module
from curation.representation.extract import extract
from curation.representation.features_file import write_features
from curation.representation.models import TRUST, load_model
from curation.system import outputs
from tests.desk.tiny_models import TEXTS, save_model

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 6


def _pool(folder: Path, prompts: int) -> Path:
    """A pool of sentences cut and joined from the tiny tokenizer's texts, 64 responses a prompt."""
    rng = random.Random(0)
    words = " ".join(TEXTS).split()
    path = folder / "pool.jsonl"
    with path.open("w") as file:
        for x in range(prompts):
            texts = [" ".join(rng.choices(words, k=rng.randint(3, 40))) for _ in range(64)]
            row = {
                "prompt_id": f"p{x}",
                "prompt": " ".join(rng.choices(words, k=20)),
                "responses": [{"text": t} for t in texts],
            }
            file.write(json.dumps(row) + "\n")
    return path


def _features(pool: Path, model: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = ["-m", "curation", "features", str(pool), "--model", str(model), "--out", str(out), "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, *command, "--json", *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CURATION_HOME": str(pool.parent / "ws")},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a job of a shell may have been told to ignore it
    )


@pytest.mark.slow
def test_killed_at_any_moment_a_resumed_run_gives_the_same_file_and_repeats_at_most_one_shard(tmp_path: Path) -> None:
    pool, model = _pool(tmp_path, SHARDS * 8), save_model(tmp_path / "m", "llama")
    whole, out = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    process = _features(pool, model, whole)
    assert process.wait(400) == 0
    parts, rng, kills = tmp_path / "cut.parquet.parts", random.Random(1), 0
    for _ in range(40):
        before = {path.name: path.stat().st_mtime_ns for path in parts.glob("shard-*.npz")}
        process = _features(pool, model, out, "--resume")
        if kills < 6:
            wanted = len(before) + rng.choice([0, 1])
            while process.poll() is None and len(list(parts.glob("shard-*.npz"))) < wanted:
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.15) if wanted > len(before) else rng.uniform(0.0, 3.0))
        else:
            process.wait(400)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            if out.exists():
                assert out.read_bytes() == whole.read_bytes()
                continue
            after = {path.name: path.stat().st_mtime_ns for path in parts.glob("shard-*.npz")}
            assert before.items() <= after.items()  # what was finished is never made again
            continue
        assert process.returncode == 0, process.communicate()[1]
        told = json.loads(process.communicate()[0])
        assert "was whole already" in " ".join(told["notes"]) or told["reused_shards"] == len(before)
        break
    assert kills >= 3
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()


@pytest.mark.slow
def test_an_interrupt_at_the_keyboard_says_how_to_go_on(tmp_path: Path) -> None:
    pool, model = _pool(tmp_path, SHARDS * 8), save_model(tmp_path / "m", "llama")
    process = _features(pool, model, tmp_path / "f.parquet")
    parts = tmp_path / "f.parquet.parts"
    while not list(parts.glob("shard-*.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "stopped; finished parts are kept; go on with --resume" in errors
    assert "Traceback" not in errors
    assert json.loads(out)["error"].startswith("stopped")
    assert not (tmp_path / "f.parquet").exists()


def _texts() -> tuple[list[Any], list[list[str]], list[tuple[str, str]]]:
    return (
        TEXTS[:3],
        [[TEXTS[0], "No."], ["Yes.", TEXTS[1]], ["a", "b"]],
        [(f"p{i // 2}", f"r{i % 2}") for i in range(6)],
    )


def test_a_full_disk_keeps_the_finished_parts_and_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full is a real device without room: what is written to it fails as on a full disk."""
    monkeypatch.setattr(extract_module, "SHARD_RESPONSES", 2)
    model = save_model(tmp_path / "m", "gpt2")
    options: dict[str, Any] = {"out": tmp_path / "f.parquet", "model": str(model), "device": "cpu"}
    extract(*_texts(), **{**options, "out": tmp_path / "whole.parquet"})
    parts = tmp_path / "f.parquet.parts"

    def fill(done: int, total: int, seconds: float) -> None:
        if done == 4 and not (parts / "shard-00001.tmp").is_symlink():
            (parts / "shard-00001.tmp").symlink_to("/dev/full")

    with pytest.raises(
        RepresentationError, match=r"No space left on device.*the 1 parts before are kept: free some.*--resume"
    ):
        extract(*_texts(), progress=fill, **options)
    assert [path.name for path in parts.glob("shard-*")] == ["shard-00000.npz"]
    done = extract(*_texts(), resume=True, **options)
    assert done.reused_shards == 1
    assert (tmp_path / "f.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_full_disk_at_the_last_step_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "f.parquet"
    monkeypatch.setattr(outputs.secrets, "token_hex", lambda size: "0" * 2 * size)  # so that the name is known
    (tmp_path / f".f.parquet.{os.getpid()}-00000000.part").symlink_to("/dev/full")
    with pytest.raises(FeaturesError, match=r"cannot be written \(No space left on device\); free some space"):
        write_features(target, [("p", "r")], np.ones((1, 4)))
    assert list(tmp_path.iterdir()) == []


def test_what_will_not_fit_is_refused_before_the_first_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "m", "gpt2")
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(extract_module.shutil, "disk_usage", lambda _path: real._replace(free=1000))
    seen: list[int] = []
    with pytest.raises(RepresentationError, match=r"GB free, but the features of 6 responses take about .* GB"):
        extract(*_texts(), out=tmp_path / "f.parquet", model=str(model), progress=lambda done, *_: seen.append(done))
    assert seen == []


class _Hub(http.server.BaseHTTPRequestHandler):
    """A hub of one model whose weights break off: the API that a download speaks, on this machine."""

    folder: Path
    broken: bool

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, body: bytes, status: int = 200, *, short: bool = False, head: bool = False, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if not head:
            self.wfile.write(body[: len(body) // 2] if short else body)
        if short:
            self.close_connection = True

    def _answer(self, *, head: bool) -> None:
        commit = "a" * 40
        if self.path.startswith("/api/models/team/tiny"):
            names = sorted(path.name for path in self.folder.iterdir())
            if "/tree/" in self.path:
                listing = [
                    {"type": "file", "path": n, "size": (self.folder / n).stat().st_size, "oid": n} for n in names
                ]
                return self._send(json.dumps(listing).encode(), Content_Type="application/json", head=head)
            info = {"id": "team/tiny", "sha": commit, "siblings": [{"rfilename": name} for name in names]}
            return self._send(json.dumps(info).encode(), Content_Type="application/json", head=head)
        name = self.path.split("/")[-1].split("?")[0]
        if self.path.startswith("/team/tiny/resolve/") and (self.folder / name).is_file():
            body = (self.folder / name).read_bytes()
            short = self.broken and name.endswith(".safetensors") and not head
            return self._send(body, short=short, head=head, ETag=f'"{name}"', X_Repo_Commit=commit)
        return self._send(b"{}", 404, head=head, X_Error_Code="RepoNotFound")

    def do_GET(self) -> None:
        self._answer(head=False)

    def do_HEAD(self) -> None:
        self._answer(head=True)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[type[_Hub], dict[str, str]]]:
    handler = type("Hub", (_Hub,), {"folder": save_model(tmp_path / "m", "gpt2"), "broken": False})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "0",
    }
    yield handler, home
    server.shutdown()


def _load(name: str, home: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Load a model in a process of its own: the hub's library reads its settings when it is imported."""
    code = (
        "import sys\nfrom curation.errors import RepresentationError\nfrom curation.representation.models import load_model\n"
        "try:\n    print('loaded', load_model(sys.argv[1], device='cpu').revision)\n"
        "except RepresentationError as error:\n    print('refused', error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, name],
        cwd=ROOT,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_a_model_of_a_hub_is_loaded_and_its_revision_is_the_commit(hub: Any) -> None:
    done = _load("team/tiny", hub[1])
    assert done.stdout.startswith("loaded " + "a" * 40), done.stdout + done.stderr


@pytest.mark.slow
def test_a_download_that_breaks_off_is_told_in_words_and_goes_on_when_tried_again(hub: Any) -> None:
    handler, home = hub
    handler.broken = True
    done = _load("team/tiny", home)
    assert done.stdout.startswith("refused model team/tiny cannot be had from the hub"), done.stdout + done.stderr
    assert "try again" in done.stdout
    assert "Traceback" not in done.stderr
    handler.broken = False
    assert _load("team/tiny", home).stdout.startswith("loaded")


@pytest.mark.slow
def test_a_name_the_hub_does_not_know_is_told_in_words(hub: Any) -> None:
    done = _load("team/other", hub[1])
    assert done.stdout.startswith("refused model team/other cannot be had"), done.stdout + done.stderr
    assert "check the network, the name" in done.stdout


def _own_code(folder: Path) -> Path:
    """A model folder whose configuration points to Python code beside it, which leaves a mark when it runs."""
    (folder / "own.py").write_text(
        "import pathlib\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        f"pathlib.Path({str(folder.parent / 'ran')!r}).touch()\n"
        "class OwnConfig(GPT2Config):\n    model_type = 'own'\n"
        "class OwnModel(GPT2LMHeadModel):\n    config_class = OwnConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnModel"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_models_own_code_runs_only_when_asked_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, mark = _own_code(save_model(tmp_path / "m", "gpt2")), tmp_path / "ran"
    monkeypatch.delenv(TRUST, raising=False)
    with pytest.raises(RepresentationError, match="cannot be loaded"):
        load_model(str(folder), device="cpu")
    with pytest.raises(RepresentationError, match=f"asked for twice.*{TRUST}="):
        load_model(str(folder), device="cpu", trust_remote_code=True)
    monkeypatch.setenv(TRUST, "another/model")
    with pytest.raises(RepresentationError, match="asked for twice"):
        load_model(str(folder), device="cpu", trust_remote_code=True)
    monkeypatch.setenv(TRUST, str(folder))
    with pytest.raises(RepresentationError, match="cannot be loaded"):
        load_model(str(folder), device="cpu")
    assert not mark.exists()
    loaded = load_model(str(folder), device="cpu", trust_remote_code=True)
    assert mark.exists()
    assert loaded.causal


def test_half_precision_is_what_the_metadata_says_and_near_the_full_one(tmp_path: Path) -> None:
    model = save_model(tmp_path / "m", "llama")
    prompts, responses, ids = _texts()
    tables = {}
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / f"{dtype}.parquet"
        done = extract(prompts, responses, ids, out=out, model=str(model), device="cpu", model_dtype=dtype)  # type: ignore[arg-type]
        assert done.metadata["dtype"] == dtype
        tables[dtype] = extract_module.read_features(out, ids)
    full, half = tables["float32"].matrix, tables["bfloat16"].matrix
    assert not np.array_equal(full, half)
    assert np.abs(full - half).max() < 0.05 * np.abs(full).max()
