"""Telling a process from another that was later given the same number."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PROC = Path("/proc")
_START = 19  # place of the start time after the command's bracket in /proc/PID/stat (proc(5): field 22)


def mark_of(pid: int) -> str:
    """Boot and start time of a process: no two have the same under one number. Empty where it does not run."""
    if (_PROC / "self/stat").exists():
        try:
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
            after = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if after[0] in ("Z", "X") else f"{boot}:{after[_START]}"
    return _ps(pid, "lstart=")


def command_of(pid: int) -> str:
    """The command line of a process; empty where it does not run."""
    if (_PROC / "self/stat").exists():
        try:
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""
    return _ps(pid, "command=")


def is_running(pid: int, *, mark: str, words: tuple[str, ...]) -> bool:
    """Whether the process that was marked still runs. words: of its command line. Without a mark the words decide."""
    if pid <= 1 or (pid == os.getpid() and not mark):
        return False
    command = command_of(pid)
    return all(word in command for word in words) and (not mark or mark == mark_of(pid))


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(["ps", "-p", str(pid), "-o", column], capture_output=True, text=True, check=False)
    return done.stdout.strip()
