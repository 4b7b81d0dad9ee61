"""The wheel, built and installed in a bare environment elsewhere, then used: help, a solve, a check, the dashboard.

Then the packages of the container image, as its Dockerfile installs them, with the dashboard beside a real PostgreSQL.

`python tests/installed.py` (`make wheel`). Nothing of the checkout is on the path of what runs.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.desk.postgres import cluster, programs  # noqa: E402


def bare(**variables: str) -> dict[str, str]:
    """The environment without what points at a checkout, a workspace or a database, and with `variables`."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CURATION_HOME", "DATABASE_URL")}
    # A page that is run without a browser has no address to show.
    return {**env, "CURATION_ALLOW_REMOTE": "1", **variables}


def run(*words: str | Path, cwd: Path) -> str:
    """What a command prints; ends the script where it fails."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=bare(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def answers(url: str, process: subprocess.Popen[bytes], *, seconds: float = 120) -> str:
    """The body that an address gives, once it answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as found:
                return str(found.read().decode())
        except OSError:
            time.sleep(0.5)
    sys.exit(f"{url} does not answer")


def copied(to: Path) -> Path:
    """What a wheel is made from, elsewhere."""
    to.mkdir()
    for name in ("curation", "pairwright", "pages", "data", ".streamlit"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    return to


PAGE = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file(sys.argv[1], default_timeout=120).run()
assert not page.exception, page.exception
print([title.value for title in page.title])
"""


def image_steps() -> list[str]:
    """The steps of the Dockerfile that install packages; /src is the checkout."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line.removeprefix("RUN ") for line in lines if line.startswith("RUN python -m pip ")]


def serves(script: Path, away: Path, **variables: str) -> None:
    """The installed dashboard answers: its health and its page. Ends the script where it does not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, quiet = [str(script), "dashboard", "--port", str(port)], subprocess.DEVNULL
    process = subprocess.Popen(words, cwd=away, env=bare(**variables), stdout=quiet, stderr=quiet)
    try:
        health = answers(f"http://127.0.0.1:{port}/_stcore/health", process)
        page = answers(f"http://127.0.0.1:{port}/", process)
    finally:
        process.terminate()
        process.wait(30)
    if health != "ok" or "<title>" not in page:
        sys.exit(f"the dashboard says {health!r}")


def main() -> None:
    """Build, install, use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        away = folder / "away"
        away.mkdir()
        pip = [sys.executable, "-m", "pip", "--quiet"]
        source = copied(folder / "source")  # a build leaves files where it is made
        run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
        (wheel,) = folder.glob("pairwright-*.whl")
        run(sys.executable, "-m", "venv", folder / "env", cwd=folder)
        python, script = folder / "env" / "bin" / "python", folder / "env" / "bin" / "pairwright"
        (torch,) = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch==")]
        run(python, "-m", "pip", "--quiet", "install", torch, cwd=folder)
        run(python, "-m", "pip", "--quiet", "install", wheel, cwd=folder)
        run(python, "-m", "pip", "check", cwd=away)
        place = Path(run(python, "-c", "import curation; print(curation.__file__)", cwd=away).strip())
        if not place.is_relative_to(folder):
            sys.exit(f"{place} is not the installed package")
        if "solve" not in run(script, "--help", cwd=away):
            sys.exit("pairwright --help names no solve")
        data = place.parent.parent / "pairwright_app" / "data"
        demo, features = data / "demo.jsonl.gz", data / "demo.features.parquet"
        run(script, "check", demo, cwd=away)
        told = json.loads(
            run(script, "solve", demo, "--features", features, "--budget", "20", "--out", "batch", "--json", cwd=away)
        )
        if told["selected_labels"] != 20:
            sys.exit(f"solve chose {told['selected_labels']} labels, not 20")
        run(python, "-m", "curation", "labels", "batch", cwd=away)
        told = run(python, "-c", "import pairwright as pw; print(pw.open_batch('batch'))", cwd=away)
        if "20 labels" not in told:
            sys.exit(f"the library says {told}")
        shown = run(python, "-c", PAGE, data.parent / "app.py", cwd=away)
        if "Pool" not in shown:
            sys.exit(f"the first page shows {shown}")
        serves(script, away)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; help, check, solve, labels and the dashboard run from it")
        for step in image_steps():
            run("sh", "-c", step.replace("python ", f"{python} ", 1).replace("/src", str(source)), cwd=away)
        run(python, "-m", "pip", "check", cwd=away)
        if programs() is None:
            print("no PostgreSQL here: the image's packages are installed, its database was not tried")
            return
        with cluster() as address:
            serves(script, away, DATABASE_URL=f"{address}/postgres")
        print("the image's packages: installed as its Dockerfile says; the dashboard runs beside PostgreSQL")


if __name__ == "__main__":
    main()
