"""Who may enter, as rules: addresses and hosts of local mode, names from claims, setups that are refused."""

from __future__ import annotations

import pytest

from pages._signin import SignInError, identity, local_refusal, providers_of, session_hours

SECRET = "0123456789abcdef0123456789abcdef-of-a-test"
CLAIMS = {"is_logged_in": True, "iat": 1_000_000, "iss": "https://id.example.org", "sub": "17"}
AUTH = {
    "redirect_uri": "https://pairs.example.org/oauth2callback",
    "cookie_secret": SECRET,
    "client_id": "a",
    "client_secret": "b",
    "server_metadata_url": "https://id.example.org/.well-known/openid-configuration",
}


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost", "LOCALHOST:1", "[::1]:8501", "127.8.8.8"])
def test_loopback_requests_pass(host):
    assert local_refusal(listens="127.0.0.1", headers={"Host": host}, client=None) == ""


@pytest.mark.parametrize(
    ("listens", "host", "client", "words"),
    [
        ("", "localhost", None, "every address"),
        (None, "localhost", None, "every address"),
        ("0.0.0.0", "localhost", None, "listens at 0.0.0.0"),
        ("::", "localhost", None, "listens at ::"),
        ("pairs.example.org", "localhost", None, "listens at pairs.example.org"),
        ("127.0.0.1", "127.0.0.1.example.org:8501", None, "asked for the host"),
        ("127.0.0.1", "localhost@example.org", None, "asked for the host"),
        ("127.0.0.1", "[::1", None, "asked for the host"),
        ("127.0.0.1", "", None, "(none)"),
        ("localhost", "localhost", "192.0.2.7", "came from 192.0.2.7"),
    ],
)
def test_other_addresses_and_hosts_are_refused_with_a_remedy(listens, host, client, words):
    told = local_refusal(listens=listens, headers={"Host": host}, client=client)
    assert words in told
    assert "CURATION_ALLOW_REMOTE=1" in told


def test_a_proxy_before_local_mode_is_refused():
    told = local_refusal(
        listens="127.0.0.1", headers={"Host": "localhost", "X-Forwarded-For": "192.0.2.7"}, client=None
    )
    assert "through a proxy (X-Forwarded-For: 192.0.2.7)" in told


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ({"email": " ana@example.org ", "email_verified": True}, "ana@example.org"),
        ({"email": "ana@example.org", "email_verified": "true"}, "ana@example.org"),
        ({"email": "ana@example.org", "email_verified": False}, "https://id.example.org#17"),
        ({"email": "ana@example.org", "email_verified": "false"}, "https://id.example.org#17"),
        ({"email": "ana@example.org"}, "https://id.example.org#17"),
        ({"email": "", "email_verified": True}, "https://id.example.org#17"),
        ({"sub": "ana@example.org"}, "https://id.example.org#ana@example.org"),
    ],
)
def test_the_name_is_the_verified_email_else_issuer_and_subject(extra, name):
    assert identity({**CLAIMS, **extra}, now=1_000_010, hours=1) == name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_logged_in": False}, "Nobody"),
        ({"is_logged_in": "yes"}, "Nobody"),
        ({"iat": None}, "iat"),
        ({"iat": True}, "iat"),
        ({"iat": 1_000_010 - 3601}, "has ended: it holds 1 hours"),
        ({"sub": ""}, "neither"),
        ({"iss": None}, "neither"),
    ],
)
def test_claims_that_name_nobody_or_are_too_old_are_refused(change, words):
    with pytest.raises(SignInError, match=words):
        identity({**CLAIMS, **change}, now=1_000_010, hours=1)


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "721"])
def test_hours_that_are_no_limit_are_refused(monkeypatch, text):
    monkeypatch.setenv("CURATION_SIGNIN_HOURS", text)
    with pytest.raises(SignInError, match="CURATION_SIGNIN_HOURS"):
        session_hours()


def test_a_setup_names_its_providers():
    assert providers_of(AUTH) == ("default",)
    own = {key: AUTH[key] for key in ("client_id", "client_secret", "server_metadata_url")}
    shared = {key: AUTH[key] for key in ("redirect_uri", "cookie_secret")}
    assert providers_of({**shared, "google": own, "okta": own}) == ("google", "okta")
    assert providers_of({**AUTH, "client_kwargs": {"prompt": "login"}, "okta": own}) == ("default", "okta")
    assert providers_of({**AUTH, "redirect_uri": "http://localhost:{port}/oauth2callback"}) == ("default",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cookie_secret": "xxx"}, "3 characters"),
        ({"redirect_uri": "https://pairs.example.org/"}, "oauth2callback"),
        ({"redirect_uri": "http://pairs.example.org/oauth2callback"}, "https"),
        ({"redirect_uri": "http://[::1/oauth2callback"}, "oauth2callback"),
        ({"client_secret": ""}, "lacks client_secret"),
        ({"okta": {"client_id": "a"}}, r"\[auth.okta\] lacks client_secret, server_metadata_url"),
    ],
)
def test_a_setup_that_would_be_open_or_broken_is_refused(change, words):
    with pytest.raises(SignInError, match=words):
        providers_of({**AUTH, **change})
