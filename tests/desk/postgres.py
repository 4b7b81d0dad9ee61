"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port, gone with the session.

`python tests/desk/postgres.py --install` makes sure that there is a server (Debian's package where there is none).
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, None where there is none."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)


def install() -> int:
    """Install a server where there is none. Returns an exit status; the tests skip, with the reason, without one."""
    if programs() or not shutil.which("apt-get"):
        return 0
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "postgresql"]):
        subprocess.run([*root, *command], check=False, stdout=subprocess.DEVNULL)
    if not programs():
        print("No PostgreSQL could be installed; its tests will be skipped.", file=sys.stderr)
    return 0


@contextmanager
def cluster() -> Iterator[str]:
    """A running server; its address without a database name. Runs as `postgres` where this process is root."""
    place = programs()
    assert place is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pairwright-pg-"))
    as_owner: list[str] = []
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]

    def run(*command: str) -> None:
        subprocess.run([*as_owner, *command], check=True, capture_output=True, cwd=folder)

    try:
        run(str(place / "initdb"), "-D", str(folder / "data"), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{folder}' -c fsync=off"
        run(
            str(place / "pg_ctl"),
            "-D",
            str(folder / "data"),
            "-o",
            options,
            "-l",
            str(folder / "log"),
            "-w",
            "-t",
            "300",
            "start",
        )
        yield f"postgresql://tester@127.0.0.1:{port}"
        run(str(place / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(install() if "--install" in sys.argv else 0)
