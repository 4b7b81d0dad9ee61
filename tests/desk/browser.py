"""A Chromium for the browser tests: the one that is there, or one installed on the spot.

`python tests/desk/browser.py --install` makes sure there is one. Debian's package first, then Playwright's own download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str | None:
    """Path of a Chromium on this machine: CHROMIUM, else the first known name on PATH, else None."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> int:
    """Install a Chromium where there is none. Returns an exit status."""
    if executable():
        return 0
    if shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
            subprocess.run([*root, *command], check=False, stdout=subprocess.DEVNULL)
        if executable():
            return 0
    done = subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if done.returncode:
        print("No Chromium could be installed; install one and set CHROMIUM to its path.", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(install() if "--install" in sys.argv else 0)
