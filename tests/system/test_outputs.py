"""Nothing is destroyed unasked: every output of every command, and two writers of one folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from curation.batch.folder import FILES, SIGNATURE, read_batch
from curation.batch.records import save_batch
from curation.cli import app as cli
from curation.cli.kinds import BATCH, SYNTHETIC, BatchKind, FileKind
from curation.cli.writes import Guarded, outputs_of
from curation.errors import BatchError, CurationError
from curation.representation.features_file import write_features
from curation.review import signoff
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.outputs import ROOT, commands

INPUTS = {
    "pool",
    "features_file",
    "exclude",
    "pin",
    "previous",
    "guidelines",
    "folder",
    "file",
    "suite",
    "suite_features",
    "batch",
    "also",
    "wheel",
}


def refused(words: list[str]) -> str:
    """What a command line says that is refused."""
    with pytest.raises(CurationError) as told:
        ROOT.main(args=words, standalone_mode=False)
    return str(told.value)


def paths_of(callback: Any) -> set[str]:
    """Parameters that are paths."""
    return {name for name, hint in get_type_hints(callback).items() if hint is Path or Path in get_args(hint) or list[Path] in get_args(hint)}  # fmt: skip


OUTPUTS = [(name, option) for name, one in commands().items() for option in outputs_of(one.callback)]


def test_every_command_is_guarded_and_every_path_is_an_input_or_a_guarded_output() -> None:
    found = commands()
    assert len(found) >= 16
    for name, one in found.items():
        assert isinstance(one, Guarded), name
        writes = set(outputs_of(one.callback))
        unknown = paths_of(one.callback) - writes - INPUTS
        assert not unknown, f"{name}: {unknown} is neither a known input nor marked by Writes"
        named = {
            option for option in get_type_hints(one.callback) if option in ("out", "rejects") or option.endswith("_out")
        }
        assert named <= writes, name
    assert len(OUTPUTS) >= 10


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pool, its features, a batch solved on them and the design that wrote it."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    with (folder / "pool.jsonl").open("w") as handle:
        for x in range(8):
            texts = [f"answer {x}.{k} " + "word " * int(rng.integers(1, 20)) for k in range(4)]
            row = {"prompt_id": f"p{x}", "prompt": f"q {x}", "responses": [{"text": t, "quality": 0.1} for t in texts]}
            handle.write(json.dumps(row) + "\n")
    pool = load_pool(folder / "pool.jsonl").pool
    write_features(folder / "f.parquet", pool.ids(), rng.standard_normal((32, 8)))
    save_batch(_solved(folder, 6), folder / "batch")
    return folder


def _solved(folder: Path, budget: int) -> Any:
    prepared = prepare(
        load_pool(folder / "pool.jsonl").pool, folder / "f.parquet", space=SpaceSettings(dim=5), device="cpu"
    )
    return solve(prepared, DesignSettings(budget=budget), with_baselines=False)


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder to do harm in, with a database of its own and the approvals that an export needs."""
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "w" / "home"))
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    store = open_store()
    batch = read_batch(tmp_path / "w" / "batch")
    record_batch(store, batch, who="ana")
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="bea")
    store.close()
    return tmp_path / "w"


def line(name: str, option: str, out: Path, place: Path) -> list[str]:
    """A command line that would write `out`."""
    pool, features = str(place / "pool.jsonl"), str(place / "f.parquet")
    lines = {
        "check": [pool],
        "features": [pool, "--model", "fit"],
        "solve": [pool, "--features", features, "--budget", "5"],
        "export": [str(place / "batch"), "--to", "csv", "--unsigned"],
        "bench": ["--quick", "--repeats", "1"],
        "model": ["smollm2", "--from", features],
        "backtest": [pool, "--features", features, "--seeds", "2", "--workers", "1"],
        "experiment tabular": ["--seeds", "2"],
        "experiment contextual": ["--seeds", "2"],
        "experiment imdb": ["--scale", "test"],
        "experiment hh": ["--pool", pool, "--scale", "test"],
        "experiment answers": ["--pool", pool, "--model", str(place / "no model")],
    }
    return [*name.split(), *lines[name], f"--{option.replace('_', '-')}", str(out)]


def everything(place: Path) -> dict[str, bytes]:
    """Every file that matters, by name; the database's own coming and going left out."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and "home" not in path.parts
    }  # fmt: skip


def forced(name: str) -> list[list[str]]:
    return [[], ["--force"]] if "force" in get_type_hints(commands()[name].callback) else [[]]


@pytest.mark.parametrize(("name", "option"), OUTPUTS)
def test_no_output_may_be_an_input_or_lie_in_a_batch_or_be_the_database(name: str, option: str, place: Path) -> None:
    from curation.system.outputs import database_files

    open_store().close()
    harm = [
        place / "pool.jsonl",
        place / "batch" / "new.csv",
        place / "batch" / "sub" / "deep",
        place / "batch" / "batch.jsonl",
    ]
    harm += [*database_files(), place / "link"]
    (place / "link").symlink_to(place / "pool.jsonl")
    if name != "solve":
        harm.append(place / "batch")
    before, database = everything(place), (place / "home" / "pairwright.db").stat()
    for out in harm:
        for more in forced(name):
            refused([*line(name, option, out, place), *more])
    assert everything(place) == before
    now = (place / "home" / "pairwright.db").stat()
    assert (now.st_ino, now.st_size) == (database.st_ino, database.st_size)


FILE_OUTPUTS = [
    (name, option) for name, option in OUTPUTS if isinstance(outputs_of(commands()[name].callback)[option], FileKind)
]


@pytest.mark.parametrize(("name", "option"), FILE_OUTPUTS)
@pytest.mark.parametrize(
    "content", ["my own notes\n", '{"a": 1}\n', "[1, 2]", "a,b\n1,2\n", "SQLite format 3\0", "PAR1 no"]
)
def test_force_replaces_only_a_file_of_the_kind_that_the_command_writes(
    name: str, option: str, content: str, place: Path
) -> None:
    mine = place / "mine.file"
    mine.write_text(content)
    for more in forced(name):
        told = refused([*line(name, option, mine, place), *more])
        assert mine.read_text() == content
    assert "is never replaced" in told


@pytest.mark.parametrize("option", ["rejects", "exclude_out"])
def test_what_check_saves_is_not_replaced_without_force_and_is_with_it(option: str, place: Path) -> None:
    out = place / "saved"
    assert cli.main(line("check", option, out, place)) == 0
    first = out.read_bytes()
    assert cli.main(line("check", option, out, place)) == 1
    assert cli.main([*line("check", option, out, place), "--force"]) == 0
    assert out.read_bytes() == first
    assert not [path for path in place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("to", ["label-studio", "argilla", "csv", "parquet", "jsonl"])
def test_an_export_replaces_an_export_but_not_what_annotators_answered(to: str, place: Path) -> None:
    out, words = place / "out.file", ["export", str(place / "batch"), "--unsigned", "--force"]
    for form in (to, "csv", to):
        assert cli.main([*words, "--to", form, "--out", str(out)]) == 0
    if to in ("label-studio", "argilla"):
        answered = json.loads(out.read_text())
        answered[0]["annotations" if to == "label-studio" else "responses"] = [{"result": []}]
        out.write_text(json.dumps(answered))
        before = out.read_bytes()
        assert cli.main([*words, "--to", to, "--out", str(out)]) == 1
        assert out.read_bytes() == before


@pytest.mark.parametrize(
    "harm", ["web extension", "one file more", "a folder more", "records gone", "records cut", "a link", "signed"]
)
def test_force_replaces_only_a_whole_unsigned_batch(harm: str, place: Path) -> None:
    out = place / "batch"
    if harm == "web extension":
        shutil.rmtree(out)
        (out / "src").mkdir(parents=True)
        (out / "src" / "main.js").write_text("alert(1)")
        (out / "manifest.json").write_text('{"manifest_version": 3, "name": "mine"}')
    elif harm == "one file more":
        (out / "notes.txt").write_text("mine")
    elif harm == "a folder more":
        (out / "more").mkdir()
    elif harm == "records gone":
        (out / "batch.jsonl").unlink()
    elif harm == "records cut":
        (out / "batch.jsonl").write_text((out / "batch.jsonl").read_text().split("\n", 1)[0] + "\n")
    elif harm == "a link":
        shutil.move(out / "space.npz", place / "space.npz")
        (out / "space.npz").symlink_to(place / "space.npz")
    else:
        (out / SIGNATURE).write_text("{}")
    before = everything(place)
    assert cli.main([*line("solve", "out", out, place), "--force"]) == 1
    assert everything(place) == before


def test_a_link_is_followed_and_nothing_is_left_beside_it(place: Path) -> None:
    (place / "link").symlink_to(place / "batch")
    (place / "nowhere").symlink_to(place / "new")
    assert cli.main([*line("solve", "out", place / "link", place), "--force"]) == 0
    assert cli.main(line("solve", "out", place / "nowhere", place)) == 0
    assert (place / "link").is_symlink()
    assert (place / "nowhere").is_symlink()
    assert read_batch(place / "batch").manifest["labels_selected"] == 5
    assert read_batch(place / "new").batch_id == read_batch(place / "batch").batch_id
    assert not [path.name for path in place.iterdir() if path.name.startswith(".")]


def together(work: Callable[[int], Any], count: int) -> list[str]:
    """What `count` threads answer that begin at the same moment; an error's words where one was raised."""
    start, told = threading.Barrier(count), ["" for _ in range(count)]

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
            told[number] = "written"
        except CurationError as error:
            told[number] = str(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


@pytest.mark.parametrize("force", [False, True])
def test_of_two_solves_into_one_folder_one_wins_and_the_other_says_so(force: bool, made: Path, tmp_path: Path) -> None:
    both = [_solved(made, 5), _solved(made, 7)]
    for number in range(6):
        out = tmp_path / f"batch{number}"
        told = together(lambda n, out=out: save_batch(both[n], out, force=force, replaces=""), 2)
        assert sorted(word == "written" for word in told) == [False, True]
        assert "--out" in next(word for word in told if word != "written")
        kept = read_batch(out).manifest["labels_selected"]
        assert kept == (5, 7)[told.index("written")]
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_signing_and_a_forced_solve_exclude_each_other(
    place: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing is slowed down so that the solve comes in the middle of the signing."""
    began, hashes, other = threading.Event(), signoff.contents, _solved(made, 7)

    def slowly(*given: Any, **named: Any) -> Any:
        began.set()
        time.sleep(0.5)
        return hashes(*given, **named)

    monkeypatch.setattr(signoff, "contents", slowly)
    store, out = open_store(), place / "batch"
    signer = threading.Thread(target=lambda: sign_batch(out, who="cat", acknowledged=["all"], store=store))
    signer.start()
    assert began.wait(300)
    with pytest.raises(BatchError, match="signed batch, which is never replaced"):
        save_batch(other, out, force=True)
    signer.join()
    assert verify_batch(out, store=store).holds
    assert read_batch(out).manifest["labels_selected"] == 6
    store.close()


def gone() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_what_killed_runs_left_is_cleared_away_at_the_next_write_and_nothing_else(place: Path, made: Path) -> None:
    for name in (
        ".batch.abcdefgh",
        f".batch.old-{gone()}",
        f".batch.old-{os.getppid()}",
        ".batch.mynotes1",
        ".other.abcdefgh",
    ):
        (place / name).mkdir()
        (place / name / "manifest.json").write_text("{}")
    (place / ".batch.mynotes1" / "diary.txt").write_text("mine")
    (place / f".t.csv.{gone()}-00aa11bb.part").write_text("half")
    (place / f".t.csv.{os.getpid()}-00aa11bb.part").write_text("being written")
    save_batch(_solved(made, 5), place / "batch", force=True)
    assert (
        cli.main(["export", str(place / "batch"), "--to", "csv", "--unsigned", "--out", str(place / "t.csv")]) == 1
    )  # none approved
    assert cli.main([*line("check", "exclude_out", place / "t.csv", place)]) == 0
    left = {path.name for path in place.iterdir() if path.name.startswith(".")}
    assert left == {
        f".batch.old-{os.getppid()}",
        ".batch.mynotes1",
        ".other.abcdefgh",
        f".t.csv.{os.getpid()}-00aa11bb.part",
    }


def test_a_batch_that_a_killed_run_had_moved_aside_is_put_back(place: Path, made: Path) -> None:
    before = read_batch(place / "batch").batch_id
    (place / "batch").rename(place / f".batch.old-{gone()}")
    with pytest.raises(BatchError, match="already exists"):
        save_batch(_solved(made, 5), place / "batch")
    assert read_batch(place / "batch").batch_id == before
    save_batch(_solved(made, 5), place / "batch", force=True)
    assert {path.name for path in (place / "batch").iterdir()} == set(FILES)


def test_a_results_folder_is_written_again_but_not_over_somebody_elses_file(place: Path) -> None:
    out = place / "results"
    words = ["experiment", "tabular", "--seeds", "2", "--out", str(out)]
    assert cli.main(words) == 0
    assert SYNTHETIC.check(out, inputs=[], force=False) == out
    for name in ("result.json", "table.csv"):
        shutil.rmtree(out)
        out.mkdir()
        (out / name).write_text('{"mine": 1}')
        refused(words)
        assert (out / name).read_text() == '{"mine": 1}'


def test_a_stage_of_an_experiment_replaces_only_a_stage(tmp_path: Path) -> None:
    from curation.experiments.stages import Stages

    stages = Stages(tmp_path)
    stages.run("model", 1, lambda folder: None)
    stages.run("model", 2, lambda folder: None)
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "mine.txt").write_text("mine")
    with pytest.raises(CurationError, match="not a finished stage"):
        stages.run("judge", 1, lambda folder: None)
    assert (tmp_path / "judge" / "mine.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "judge"}


def test_parts_of_features_are_started_over_only_where_a_run_made_them(place: Path) -> None:
    parts = place / "new.parquet.parts"
    parts.mkdir()
    (parts / "run.json").write_text('{"run": "abc"}')
    (parts / "mine.txt").write_text("mine")
    assert cli.main([*line("features", "out", place / "new.parquet", place), "--force"]) == 1
    assert (parts / "mine.txt").read_text() == "mine"


def test_the_batch_kind_is_the_only_one_that_may_be_a_batch_folder() -> None:
    assert isinstance(BATCH, BatchKind)
    assert [
        name for name, option in OUTPUTS if isinstance(outputs_of(commands()[name].callback)[option], BatchKind)
    ] == ["solve"]
