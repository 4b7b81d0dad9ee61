"""Sign-in against a real OpenID provider in a real Chromium, and what local mode refuses."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation.pool.readers.read import read_pool
from curation.pool.schema import prompt_text
from curation.review.store.store import open_store
from tests.desk.browser import FLAGS, executable
from tests.desk.openid_provider import ADMIN, REVIEWER, STRANGER, UNVERIFIED, provider, write_secrets
from tests.desk.pools import demo_pool
from tests.desk.signing_in import dashboard
from tests.desk.waiting import ALERT, SIDEBAR, free_port, reads, settle, until

SHOTS = os.environ.get("CURATION_SCREENSHOTS")
playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser():
    path = executable()
    if path is None:
        pytest.fail("no Chromium: run `make test`, which installs one")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=path, args=[*FLAGS, "--host-resolver-rules=MAP example.test 127.0.0.1"], timeout=180_000
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider() as address:
        yield address


@pytest.fixture(scope="module")
def address(home, issuer) -> Iterator[str]:
    port = free_port()
    secrets = write_secrets(home, issuer, port)
    with dashboard(home, port, "--secrets.files", str(secrets)) as url:
        yield url


@contextmanager
def tab(browser, url: str):
    """A fresh browser profile at an address; yields the page and every byte the server sent to it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, received = context.new_page(), []

    def keep(frame) -> None:
        received.append(frame.encode() if isinstance(frame, str) else frame)

    page.on("websocket", lambda channel: channel.on("framereceived", keep))
    try:
        page.goto(url, timeout=120_000)
        settle(page)
        yield page, received
    finally:
        context.close()


def sign_in(page, user) -> None:
    """Through the provider and back."""
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/oauth2/authorize"), timeout=120_000)
    page.get_by_role("button", name=user.sub, exact=True).click()
    page.wait_for_selector("[data-testid='stSidebar'] >> text=Sign out", timeout=120_000)
    settle(page)


def shot(page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def decided(home: Path) -> list[str]:
    """Who made the decisions that hold in a workspace."""
    store = open_store(f"sqlite:///{home / 'pairwright.db'}")
    names = [entry.who for batch in store.batches() for entry in store.decisions(batch.batch_id).values()]
    store.close()
    return names


def approve(page, address: str) -> None:
    page.goto(f"{address}/review?budget=15")
    settle(page)
    page.get_by_role("button", name=re.compile(r"\bApprove\b(?! \d)")).first.click()
    settle(page)


def only_the_button(page) -> None:
    """What somebody sees who is not signed in."""
    page.get_by_role("button", name="Sign in").wait_for(timeout=120_000)
    settle(page)
    shown = "Skip to main content Pairwright Sign in".split()
    until(lambda: [word for word in page.inner_text("body").split() if word != "login"], shown)  # login: icon


# Sign-in --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_sign_in_no_text_of_the_pool_leaves_the_server(browser, address):
    pool = read_pool(demo_pool()).pool
    told = [prompt_text(prompt.prompt)[:40].encode() for prompt in pool.prompts] + [b"Demo pool"]
    with tab(browser, f"{address}/review?budget=15") as (page, received):
        only_the_button(page)
        shot(page, "signin-anonymous")
        page.goto(address)
        settle(page)
        only_the_button(page)
        sent = b"".join(received)
        assert len(sent) > 500  # frames were seen at all
        assert not [words for words in told if words in sent]
        sign_in(page, REVIEWER)
        page.goto(f"{address}/review?budget=15")
        settle(page)
        until(lambda: any(words in b"".join(received) for words in told[:-1]), True, page=page)


@pytest.mark.slow
def test_a_reviewers_decision_is_stored_under_the_email_and_sign_out_ends_it(browser, address, home):
    with tab(browser, address) as (page, _):
        only_the_button(page)
        sign_in(page, REVIEWER)
        reads(page, "rae@example.org", "Role: reviewer", where=SIDEBAR)
        sidebar = page.inner_text(SIDEBAR)
        assert "Local single-user" not in sidebar
        assert page.query_selector("[data-testid='stSidebar'] input") is None  # no name to type
        shot(page, "signin-reviewer")
        before = decided(home)
        approve(page, address)
        until(lambda: decided(home), [*before, "rae@example.org"])
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="End session").click()
        only_the_button(page)
        page.goto(f"{address}/review")
        only_the_button(page)


@pytest.mark.slow
def test_somebody_without_a_role_is_refused_below_the_page(browser, address, home):
    with tab(browser, address) as (page, _):
        sign_in(page, STRANGER)
        reads(page, "No role here", where=SIDEBAR)
        before = decided(home)
        approve(page, address)
        reads(page, "sam@example.org is not named in this workspace")
        assert decided(home) == before
        shot(page, "signin-stranger")


@pytest.mark.slow
def test_an_unverified_email_is_not_believed(browser, address, issuer, home):
    with tab(browser, address) as (page, _):
        sign_in(page, UNVERIFIED)  # claims the administrator's address
        reads(page, "No role here", where=SIDEBAR)
        sidebar = page.inner_text(SIDEBAR)
        assert f"{issuer}#u4" in sidebar.replace("\n", "")
        assert "ada@example.org" not in sidebar
        before = decided(home)
        approve(page, address)
        reads(page, "is not named in this workspace")
        assert decided(home) == before
        shot(page, "signin-unverified")


@pytest.mark.slow
def test_a_click_after_the_sign_in_ended_decides_nothing(browser, home, issuer, tmp_path):
    port, hours = free_port(), 0.02  # 72 s: room to sign in and see the page on a busy machine
    secrets = write_secrets(tmp_path, issuer, port)
    with (
        dashboard(home, port, "--secrets.files", str(secrets), CURATION_SIGNIN_HOURS=str(hours)) as url,
        tab(browser, url) as (page, _),
    ):
        sign_in(page, ADMIN)
        signed = time.monotonic()  # not before the provider's word, which the hours count from
        page.goto(f"{url}/review?budget=15")
        settle(page)
        button = page.get_by_role("button", name=re.compile(r"\bApprove\b(?! \d)")).first
        button.wait_for()
        page.wait_for_timeout(max(0.0, hours * 3600 + 3 - (time.monotonic() - signed)) * 1000)
        before = decided(home)
        button.click()
        settle(page)
        reads(page, "has ended")
        assert decided(home) == before
        page.get_by_role("button", name="Sign in").wait_for(timeout=120_000)
        shot(page, "signin-ended")


@pytest.mark.slow
def test_the_wrong_address_leads_to_the_one_that_sign_in_comes_back_to(browser, address):
    with tab(browser, address.replace("127.0.0.1", "localhost")) as (page, _):
        reads(page, f"Sign-in comes back to {address}")
        page.get_by_role("link", name=f"Open {address}").wait_for()
        shot(page, "signin-other-address")


@pytest.mark.slow
@pytest.mark.parametrize(("text", "words"), [("[auth", "cannot be read"), ("[auth]\n", "cookie_secret")])
def test_a_broken_secrets_file_closes_the_dashboard_instead_of_opening_local_mode(browser, tmp_path, text, words):
    (tmp_path / "secrets.toml").write_text(text)
    with (
        dashboard(tmp_path, port := free_port(), "--secrets.files", str(tmp_path / "secrets.toml")),
        tab(browser, f"http://127.0.0.1:{port}") as (page, received),
    ):
        reads(page, words, where=ALERT)
        assert str(tmp_path).encode() not in b"".join(received)  # where the secrets lie is the server's matter
        assert b"Demo pool" not in b"".join(received)
        shot(page, f"signin-broken-{words.split('_')[0].split()[0]}")


@pytest.mark.slow
def test_where_nobody_is_named_the_sidebar_says_that_everybody_may_do_everything(browser, issuer, tmp_path):
    port = free_port()
    secrets = write_secrets(tmp_path, issuer, port)
    with dashboard(tmp_path, port, "--secrets.files", str(secrets)) as url, tab(browser, url) as (page, _):
        sign_in(page, ADMIN)
        told = "whoever signs in may do everything", "python -m curation people ada@example.org --role admin"
        reads(page, *told, where=SIDEBAR)
        shot(page, "signin-nobody-named")


# Local mode -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_local_mode_says_so_and_refuses_a_foreign_host_name(browser, tmp_path):
    port = free_port()
    with dashboard(tmp_path, port) as url:
        with tab(browser, url) as (page, _):
            reads(page, "Local single-user mode", where=SIDEBAR)
            assert page.query_selector("[data-testid='stAlertContentError']") is None
            shot(page, "signin-local")
        with tab(browser, f"http://example.test:{port}/review?budget=15") as (page, received):
            told = f"asked for the host example.test:{port}", "CURATION_ALLOW_REMOTE=1"
            reads(page, *told, where=ALERT)
            assert b"Demo pool" not in b"".join(received)
            shot(page, "signin-local-refused")


@pytest.mark.slow
def test_local_mode_refuses_every_page_of_a_server_on_all_addresses_unless_told(browser, tmp_path):
    port = free_port()
    with dashboard(tmp_path, port, "--server.address", "0.0.0.0") as url:
        for name in ("", "design", "review", "signoff"):
            with tab(browser, f"{url}/{name}") as (page, _):
                reads(page, "listens at 0.0.0.0", where=ALERT)
                assert page.query_selector("[data-testid='stSidebarNavLink']") is None
    with (
        dashboard(tmp_path, port := free_port(), "--server.address", "0.0.0.0", CURATION_ALLOW_REMOTE="1"),
        tab(browser, f"http://example.test:{port}") as (page, _),
    ):
        reads(page, "open to other machines", where=SIDEBAR)
        shot(page, "signin-remote-allowed")
