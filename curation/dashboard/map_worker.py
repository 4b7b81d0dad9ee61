"""The process that makes maps: started with the server, so that UMAP is compiled before anybody asks for one.

It costs a quarter of a gigabyte while the dashboard runs, and the first map some seconds less. `CURATION_MAP_WORKER=0`
leaves it out; maps are then made in the server itself, as they are where the process has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import BinaryIO, cast

import numpy as np

from curation.insight.embedding import embed, receive, send

SWITCH = "CURATION_MAP_WORKER"
# It gives way to the first page.
PROGRAM = "import os; os.nice(5)\nfrom curation.insight.embedding import serve\nserve()"


class MapWorker:
    """One process, one map at a time. Safe to share between sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, without waiting for it; once begun or left out, it does nothing."""
        with self._lock:
            if self._process is None and os.environ.get(SWITCH, "1") != "0":
                one = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
                self._process = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    env={**os.environ, **one, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                )  # fmt: skip

    def embed(self, vectors: np.ndarray) -> np.ndarray:
        """Coordinates (m, 2) of vectors (m, d), as `insight.embedding.embed` makes them."""
        with self._lock:
            found = self._asked(vectors)
        return embed(vectors) if found is None else found

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def _asked(self, vectors: np.ndarray) -> np.ndarray | None:
        process = self._process
        if process is None or process.poll() is not None:
            return None
        try:
            send(cast(BinaryIO, process.stdin), vectors)
            return receive(cast(BinaryIO, process.stdout))
        except (OSError, ValueError):
            return None


WORKER = MapWorker()
