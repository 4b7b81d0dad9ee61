"""The judge behind a real HTTP server on this machine: both orders, ties, retries, cache, estimate, limits."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import CurationError
from curation.experiments.judge import INSTRUCTION, EndpointJudge, ScorerJudge, win_rate
from tests.desk.endpoint import Endpoint
from tests.desk.pools import real_pool

ROOT = Path(__file__).resolve().parents[2]


def judge(endpoint: Endpoint, tmp_path: Path, **options: Any) -> EndpointJudge:
    options = {"pause": 0.0, **options}
    return EndpointJudge(endpoint.url, "some-model", tmp_path / "judge.sqlite", **options)


MATCHES = [("q1", "long answer", "short"), ("q2", "a", "much longer"), ("q3", "same", "four")]


def test_both_orders_are_asked_and_the_preferred_answer_wins(endpoint: Endpoint, tmp_path: Path) -> None:
    won = judge(endpoint, tmp_path)(MATCHES)
    np.testing.assert_array_equal(won, [1.0, 0.0, 0.5])
    assert len(endpoint.seen) == 6
    assert endpoint.seen[0]["model"] == "some-model"
    assert endpoint.seen[0]["messages"][0]["content"] == INSTRUCTION


def test_a_judge_that_always_names_the_first_is_a_tie(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = "A"
    np.testing.assert_array_equal(judge(endpoint, tmp_path)(MATCHES), [0.5, 0.5, 0.5])


def test_an_answer_that_is_no_verdict_is_a_tie(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = "I would rather not say"
    np.testing.assert_array_equal(judge(endpoint, tmp_path)(MATCHES[:1]), [0.5])


def test_nothing_is_asked_twice_not_even_by_another_process(endpoint: Endpoint, tmp_path: Path) -> None:
    first = judge(endpoint, tmp_path)(MATCHES)
    asked = len(endpoint.seen)
    np.testing.assert_array_equal(judge(endpoint, tmp_path)(MATCHES), first)
    assert len(endpoint.seen) == asked
    assert judge(endpoint, tmp_path).estimate(MATCHES).requests == 0


def test_errors_of_the_server_are_waited_out_and_pauses_double(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.failures = [500, 429, 503]
    waited: list[float] = []
    won = judge(endpoint, tmp_path, pause=0.5, sleep=waited.append)(MATCHES[:1])
    assert won[0] == 1.0
    assert waited == [0.5, 1.0, 2.0]


def test_a_server_that_stays_down_is_said_and_what_was_judged_is_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    asking = judge(endpoint, tmp_path, retries=1)
    asking(MATCHES[:1])
    endpoint.failures = [500] * 9
    with pytest.raises(CurationError, match=r"did not answer in 2 attempts \(status 500\)"):
        asking(MATCHES)
    endpoint.failures = []
    before = len(endpoint.seen)
    asking(MATCHES)
    assert len(endpoint.seen) - before == 4, "the first match was not asked again"


def test_a_refused_key_is_said_at_once(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_JUDGE_KEY", "secret")
    endpoint.failures = [401]
    with pytest.raises(CurationError, match="CURATION_JUDGE_KEY") as caught:
        judge(endpoint, tmp_path)(MATCHES)
    assert "secret" not in str(caught.value)
    assert endpoint.keys == ["Bearer secret"]


def test_the_estimate_comes_before_the_first_request_and_limits_hold(endpoint: Endpoint, tmp_path: Path) -> None:
    said: list[str] = []
    asking = judge(endpoint, tmp_path, prices=(1.0, 10.0), told=said.append)
    told = asking.estimate(MATCHES)
    assert told.requests == 6
    text = 2 * sum(
        len(INSTRUCTION) + len("Conversation:\n\n\nAnswer A:\n\n\nAnswer B:\n") + sum(map(len, m)) for m in MATCHES
    )
    assert told.tokens == pytest.approx(text / 4 + 6 * 4, rel=0.05)
    assert told.cost == pytest.approx(((told.tokens - 24) * 1.0 + 24 * 10.0) / 1e6)
    with pytest.raises(CurationError, match="raise --judge-requests"):
        judge(endpoint, tmp_path, most_requests=5)(MATCHES)
    with pytest.raises(CurationError, match="raise --judge-cost"):
        judge(endpoint, tmp_path, prices=(1.0, 10.0), most_cost=1e-6)(MATCHES)
    with pytest.raises(CurationError, match="price unknown"):
        judge(endpoint, tmp_path, most_cost=1.0)(MATCHES)
    assert endpoint.seen == []
    asking(MATCHES)
    assert "6 requests" in said[0]


def test_an_estimate_leaves_no_file(endpoint: Endpoint, tmp_path: Path) -> None:
    asking = EndpointJudge(endpoint.url, "m", tmp_path / "new" / "judge.sqlite")
    assert asking.estimate(MATCHES).requests == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["https://", "https://ana:secret@host/v1", "https://host/v1?key=secret", "https://host:port/v1"]
)
def test_an_address_that_holds_a_key_or_no_host_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(CurationError, match="needs a host, and holds no name, key or question") as told:
        EndpointJudge(url, "m", tmp_path / "judge.sqlite")
    assert "secret" not in str(told.value)


def test_a_redirection_takes_the_key_nowhere(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_JUDGE_KEY", "secret")

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{endpoint.url}/chat/completions")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(CurationError, match=r"refuses the request \(status 302\)"):
        EndpointJudge(f"http://127.0.0.1:{server.server_port}/v1", "m", tmp_path / "judge.sqlite")(MATCHES)
    server.shutdown()
    assert endpoint.keys == []


def test_a_server_that_speaks_no_http_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"220 mail.example.org ready\r\n")

        threading.Thread(target=babble, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises(CurationError, match="did not answer in 2 attempts"):
            EndpointJudge(url, "m", tmp_path / "judge.sqlite", retries=1, pause=0.0)(MATCHES)


def test_a_local_scorer_wins_by_score_and_equal_scores_tie() -> None:
    lengths = ScorerJudge(lambda texts: np.array([len(t) for t in texts], dtype=float))
    np.testing.assert_array_equal(lengths(MATCHES), [1.0, 0.0, 0.5])
    mean, error = win_rate(np.array([1.0, 0.0, 0.5, 1.0]))
    assert mean == 0.625
    assert error == pytest.approx(np.std([1, 0, 0.5, 1], ddof=1) / 2)


@pytest.mark.slow
def test_the_command_asks_an_endpoint_and_a_second_run_asks_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    pool = real_pool("hh_harmless_base_test.jsonl.gz")
    arguments = [
        sys.executable, "-m", "curation", "experiment", "hh", "--scale", "test", "--pool", str(pool), "--out",
        str(tmp_path / "out"), "--judge", endpoint.url, "--judge-model", "some-model", "--json",
    ]  # fmt: skip
    refused = subprocess.run(
        [*arguments, "--judge-requests", "3"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert refused.returncode == 1
    assert "raise --judge-requests" in refused.stderr
    assert endpoint.seen == []
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "judging: " in done.stderr
    told = json.loads(done.stdout)
    assert told["judge"] == f"some-model at {endpoint.url}"
    asked = len(endpoint.seen)
    assert asked > 50
    again = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT)
    assert json.loads(again.stdout)["points"] == told["points"]
    assert len(endpoint.seen) == asked
