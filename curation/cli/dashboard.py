"""The command that opens the dashboard."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from curation.errors import CurationError
from curation.settings import app_folder


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(dashboard)


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to answer on.")] = 8501,
    address: Annotated[str, typer.Option(help="Address to answer on; others than this machine's need a sign-in.")] = "",
) -> None:
    """Open the dashboard: a server on this machine until it is interrupted. The workspace is ./workspace."""
    script = app_folder() / "app.py"
    if not script.is_file():
        raise CurationError(f"{script} is not there: the installation is not whole; install pairwright again.")
    if importlib.util.find_spec("streamlit") is None:
        raise CurationError("the dashboard needs streamlit, which is not installed; `pip install streamlit`.")
    words = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    words += ["--server.address", address] if address else []
    print(f"Pairwright: http://{address or '127.0.0.1'}:{port}", file=sys.stderr, flush=True)
    os.execv(sys.executable, words)  # the server takes this process's place, and its signals
