"""What long work says of how far it is, on a terminal and where there is none."""

from __future__ import annotations

import re
from typing import Any

import pytest

from curation.cli.output import progress_line


def _told(capsys: pytest.CaptureFixture[str], calls: list[tuple[int, int, float]]) -> list[str]:
    show = progress_line()
    for call in calls:
        show(*call)
    return [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if line.strip()]


def test_where_there_is_no_terminal_a_line_appears_every_so_often(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _told(capsys, [(k, 1000, float(k)) for k in range(1, 1001)])
    assert 20 <= len(lines) <= 40
    assert lines[-1].startswith("1000/1000 responses")
    done = [int(line.split("/")[0]) for line in lines]
    assert done == sorted(set(done))


def test_a_slow_models_speed_is_told_in_seconds_a_response(capsys: pytest.CaptureFixture[str]) -> None:
    assert _told(capsys, [(320, 320, 1280.0)]) == ["320/320 responses, 4.0 s each, 0 s left"]
    assert _told(capsys, [(320, 320, 100.0)]) == ["320/320 responses, 3.2/s, 0 s left"]
    assert _told(capsys, [(32000, 32000, 100.0)]) == ["32000/32000 responses, 320/s, 0 s left"]
    assert "unknown" in _told(capsys, [(0, 5, 0.0), (0, 5, 31.0)])[-1]
    assert _told(capsys, [(5, 5, 0.0)])[-1].startswith("5/5")


def test_a_terminal_shows_every_step_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    calls: list[tuple[Any, ...]] = [(k, 3, k * 0.1) for k in (1, 2, 3)]
    assert len(_told(capsys, calls)) == 3
