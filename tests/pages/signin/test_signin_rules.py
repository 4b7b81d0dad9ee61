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


OWN = {key: AUTH[key] for key in ("client_id", "client_secret", "server_metadata_url")}


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
        ({"iat": float("nan")}, "iat"),
        ({"iat": float("inf")}, "iat"),
        ({"iat": -float("inf")}, "iat"),
        ({"iat": -1e300}, "iat"),
        ({"iat": 1e300}, "iat"),
        ({"iat": 1_000_010 + 301}, "clocks"),
        ({"iat": 1_000_010 - 3601}, "has ended: it holds 1 hours"),
        ({"email": "a\u200bna@example.org", "email_verified": True}, "U\\+200B"),
        ({"email": "\u0430na@example.org", "email_verified": True}, "Cyrillic"),
        ({"sub": ""}, "neither"),
        ({"iss": None}, "neither"),
    ],
)
def test_claims_that_name_nobody_or_are_too_old_are_refused(change, words):
    with pytest.raises(SignInError, match=words):
        identity({**CLAIMS, **change}, now=1_000_010, hours=1)


def test_two_providers_never_give_one_name_to_two_people():
    mail = {"email": "ana@example.org", "email_verified": True}
    claims = [
        {"iss": "https://weak.example.org", **mail},
        {"iss": "https://corp.example.org", **mail},
        {"iss": "https://corp.example.org", "sub": "ana@example.org"},
        {"iss": "https://corp#a", "sub": "b"},
        {"iss": "https://corp", "sub": "a#b"},
        {"iss": "https://corp%23a", "sub": "b"},
        {"iss": "https://weak", "email": "https://corp#b@x", "email_verified": True, "sub": "7"},
    ]
    names = [identity({**CLAIMS, **claim}, now=1_000_010, hours=1, alone=False) for claim in claims]
    assert len(set(names)) == len(claims), names
    assert "https://weak.example.org" in names[0]
    alone = [identity({**CLAIMS, **claim}, now=1_000_010, hours=1) for claim in claims[:3]]
    assert alone == ["ana@example.org", "ana@example.org", "https://corp.example.org#ana@example.org"]


def test_without_an_issuer_an_email_is_no_name_among_several_providers():
    with pytest.raises(SignInError, match="neither"):
        identity({**CLAIMS, "iss": "", "email": "a@b", "email_verified": True}, now=1_000_010, hours=1, alone=False)


@pytest.mark.parametrize(
    "url", ["http://localhost:9/x", "http://127.0.0.1:9/x", "http://[::1]/x", "https://id.example"]
)
def test_the_provider_is_asked_over_https_or_on_this_machine(url):
    assert providers_of({**AUTH, "server_metadata_url": url}) == ("default",)


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
        ({"cookie_secret": "a" * 64}, "repeats itself"),
        ({"cookie_secret": "0123456789" * 4}, "repeats itself"),
        ({"cookie_secret": "0123456789abcdef" * 4}, "repeats itself"),
        ({"cookie_secret": "password" * 8}, "repeats itself"),
        ({"server_metadata_url": "http://id.example.org/.well-known/openid-configuration"}, "begin with https"),
        ({"server_metadata_url": "//id.example.org/x"}, "begin with https"),
        ({"server_metadata_url": "http://127.0.0.1.example.org/x"}, "begin with https"),
        ({"okta": {**OWN, "server_metadata_url": "http://okta.example.org"}}, r"\[auth.okta\].*begin with https"),
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


@pytest.mark.parametrize(
    "name",
    ["Via", "Forwarded", "X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server",
     "X-Forwarded", "X-Forwarded-Prefix", "X-Real-IP", "X-Real-Port", "CF-Connecting-IP", "CF-Ray", "cf-visitor", "True-Client-IP",
     "X-Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "CDN-Loop", "X-Original-Host", "X-Envoy-External-Address",
     "X-Amzn-Trace-Id", "X-Azure-ClientIP", "X-Vercel-Forwarded-For", "Tailscale-User-Login", "X-Original-Forwarded-For"],
)  # fmt: skip
def test_every_header_of_a_proxy_refuses_in_local_mode(name):
    told = local_refusal(listens="127.0.0.1", headers={"Host": "localhost", name: "192.0.2.7"}, client=None)
    assert f"through a proxy ({name}: 192.0.2.7)" in told


def test_what_a_browser_sends_by_itself_is_no_header_of_a_proxy():
    own = """Host Connection Upgrade Origin User-Agent Accept Accept-Encoding Accept-Language Cache-Control Pragma Cookie DNT Referer
        Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-GPC Priority
        Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Extensions Sec-WebSocket-Protocol Upgrade-Insecure-Requests If-None-Match
        X-Xsrftoken Content-Type Content-Length TE""".split()
    assert (
        local_refusal(listens="127.0.0.1", headers=dict.fromkeys(own, "x") | {"Host": "localhost"}, client=None) == ""
    )
