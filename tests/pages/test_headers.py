"""What the server tells the browser with every answer, so that nobody draws the dashboard inside a page of theirs."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.web.server.app_discovery import discover_asgi_app

from pages._headers import METRICS, MIDDLEWARE
from tests.desk.browser import FLAGS, executable
from tests.desk.signing_in import dashboard
from tests.desk.waiting import free_port, until

ROOT = Path(__file__).resolve().parents[2]
playwright = pytest.importorskip("playwright.sync_api")


def test_streamlit_finds_the_application_that_carries_the_headers() -> None:
    found = discover_asgi_app(ROOT / "app.py")
    assert (found.is_asgi_app, found.app_name) == (True, "app")


def test_every_answer_refuses_frames_whatever_it_said_before() -> None:
    def answer(request: object) -> PlainTextResponse:
        return PlainTextResponse("x", headers={"X-Frame-Options": "ALLOWALL"})

    client = TestClient(Starlette(routes=[Route("/", answer)], middleware=MIDDLEWARE))
    for path in ("/", "/none"):
        got = client.get(path)
        assert got.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert got.headers.get_list("x-frame-options") == ["DENY"]


@pytest.mark.parametrize(
    ("asked", "led"),
    [
        ("/pool", "/"),
        ("/pool/?pool=demo&budget=40", "/?pool=demo&budget=40"),
        ("/base/pool?pool=a%20b%26c", "/base/?pool=a%20b%26c"),
        ("/pools", "/pools"),
        ("/pool/other", "/pool/other"),
    ],
)
def test_the_first_page_is_found_by_its_name_too(asked: str, led: str) -> None:
    def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.url).removeprefix("http://testserver"))

    client = TestClient(Starlette(routes=[Route("/{rest:path}", answer)], middleware=MIDDLEWARE))
    assert client.get(asked).text == led


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8501"}, 200),
        ("127.0.0.1", {"Host": "localhost"}, 200),
        ("127.0.0.1", {"Host": "evil.example"}, 403),
        ("127.0.0.1", {"Host": "localhost", "Via": "1.1 proxy"}, 403),
        ("10.0.0.7", {"Host": "localhost"}, 403),
    ],
)
def test_figures_of_the_server_are_for_this_machine(client: str, headers: dict[str, str], status: int) -> None:
    paths = (METRICS, f"/base{METRICS}", "/page")
    routes = [Route(path, lambda request: PlainTextResponse("figures")) for path in paths]
    asked = TestClient(Starlette(routes=routes, middleware=MIDDLEWARE), client=(client, 5000))
    for path in (*paths[:2], f"{METRICS}/"):
        got = asked.get(path, headers=headers, follow_redirects=False)
        assert got.status_code in ((403,) if status == 403 else (200, 307)), path
    assert asked.get("/page", headers=headers).status_code == 200


@pytest.mark.slow
def test_a_foreign_page_cannot_draw_the_dashboard(tmp_path: Path) -> None:
    path = executable()
    assert path is not None
    with dashboard(tmp_path, free_port()) as address, playwright.sync_playwright() as driver:
        for place in ("", "/review", "/_stcore/health"):
            with urllib.request.urlopen(address + place) as answer:
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        (tmp_path / "index.html").write_text(f"<iframe src='{address}/review' width=800 height=600></iframe>")

        class Foreign(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *given: object) -> None:
                super().__init__(*given, directory=str(tmp_path))  # type: ignore[arg-type]

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as foreign:
            threading.Thread(target=foreign.serve_forever, daemon=True).start()
            chromium = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=180_000)
            page = chromium.new_page()
            refused: list[str] = []
            page.on("console", lambda line: refused.append(line.text))
            page.goto(f"http://localhost:{foreign.server_port}/", timeout=120_000)
            until(lambda: any("frame" in line.lower() for line in refused) or refused, True, page=page)
            page.wait_for_timeout(3000)  # time to draw it nevertheless
            assert all(frame.query_selector("[data-testid='stApp']") is None for frame in page.frames)
            chromium.close()
            foreign.shutdown()
