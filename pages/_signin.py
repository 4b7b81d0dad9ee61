"""Who is at the screen: signed in at an OpenID provider, or the one local user of a dashboard bound to loopback.

Sign-in is on when Streamlit's secrets hold `[auth]`. It says who somebody is; what they may do is in the review store
(`curation/review/store/roles.py`) and enforced there.
"""

from __future__ import annotations

import getpass
import ipaddress
import logging
import os
import shlex
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit.errors import Error as StreamlitError

from curation.errors import CurationError, StoreError
from curation.review.store.names import person_name
from pages._store import review_store

LOGGER = logging.getLogger(__name__)
REMOTE = "CURATION_ALLOW_REMOTE"
HOURS = "CURATION_SIGNIN_HOURS"
HOURS_DEFAULT = 12.0
SECRET_LENGTH = 32  # characters: whoever guesses the secret writes cookies with any name in them
SECRET_PACKED, SECRET_LETTERS = 30, 8  # bytes after compression, different characters: fewer is a pattern
CLOCKS = 300.0  # seconds that two clocks may differ
FAR = 2**40  # seconds since 1970: no date
PROVIDER_KEYS = ("client_id", "client_secret", "server_metadata_url")
# What proxies, tunnels and content networks put into a request; a browser on this machine sends none of them.
PROXY_HEADERS = frozenset(
    """forwarded via x-real-ip x-client-ip x-cluster-client-ip x-original-host x-original-url x-original-forwarded-for
    x-rewrite-url x-host x-proxy-user-ip x-remote-ip x-remote-addr remote-addr client-ip true-client-ip fastly-client-ip
    fly-client-ip do-connecting-ip x-appengine-user-ip x-azure-clientip x-azure-socketip x-amzn-trace-id cdn-loop
    x-scheme x-url-scheme front-end-https proxy-connection x-proxy-id x-envoy-external-address
    x-envoy-original-path x-arr-log-id x-arr-ssl x-nginx-proxy x-varnish x-request-start ngrok-trace-id""".split()
)
PROXY_PREFIXES = ("x-forwarded", "cf-", "x-cloud-trace", "x-goog-", "x-envoy-", "x-amz", "x-azure-", "x-vercel-", "fly-",
                  "x-ms-proxy", "x-tunnel-", "tailscale-", "ngrok-", "x-real-", "x-auth-request-", "x-authentik-",
                  "remote-", "x-arr-", "x-cdn", "x-akamai-", "akamai-", "fastly-")  # fmt: skip
LOCAL_REMEDY = (
    "use it on its own machine at http://127.0.0.1 (or through an SSH tunnel), or set up sign-in ([auth] in "
    f".streamlit/secrets.toml), or set {REMOTE}=1 if it is behind a sign-in proxy of your own."
)


class SignInError(CurationError):
    """Nobody is signed in, or this dashboard may not answer here."""


@dataclass(frozen=True)
class Entrance:
    """Who may go in. `who` is empty where nobody may; then `words` say why, and `providers` are offered for sign-in."""

    who: str
    words: str = ""
    providers: tuple[str, ...] = ()
    signed_in: bool = False
    origin: str = ""  # where sign-in comes back to, such as https://pairs.example.org


# What is decided without a browser -------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without its port, is this machine's loopback. Names are not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(url: str) -> tuple[str, str]:
    """Scheme and host of an address, without port and brackets; both empty for one that is none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or ""
    except ValueError:
        return "", ""


def local_refusal(*, listens: str | None, headers: Mapping[str, str], client: str | None) -> str:
    """Why local mode may not answer a request, in words; empty where it may.

    listens: Streamlit's server.address, empty for every address. headers: of the request. client: the address it came
    from, None for loopback. The Host is checked because a foreign site can point its name at 127.0.0.1.
    """
    rule = "local single-user mode has no sign-in and answers on this machine only"
    if not listens or not is_loopback(listens):
        where = f"at {listens}" if listens else "at every address (server.address is empty)"
        return f"The server listens {where}; {rule}. Start it with --server.address 127.0.0.1, or {LOCAL_REMEDY}"
    if client is not None and not is_loopback(client):
        return f"The request came from {client}; {rule}. Please {LOCAL_REMEDY}"
    through = next((name for name in headers if is_proxy_header(name)), None)
    if through is not None:
        return f"The request came through a proxy ({through}: {headers[through][:100]}); {rule}. Please {LOCAL_REMEDY}"
    host = headers.get("Host", "")
    if not is_loopback(split_address(f"//{host}")[1]):
        return f"The request asked for the host {host or '(none)'}; {rule}. Please {LOCAL_REMEDY}"
    return ""


def is_proxy_header(name: str) -> bool:
    """Whether a header of this name is put in by something between the browser and this server."""
    plain = name.lower()
    return plain in PROXY_HEADERS or plain.startswith(PROXY_PREFIXES)


def session_hours() -> float:
    """How long a sign-in holds, in hours. Raises SignInError for a value that is no positive number."""
    text = os.environ.get(HOURS, str(HOURS_DEFAULT))
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 720:
        raise SignInError(f"{HOURS} is {text!r}; it must be a number above 0 and at most 720: set it so or remove it.")
    return hours


def identity(user: Mapping[str, Any], *, now: float, hours: float, alone: bool = True) -> str:
    """The name under which a signed-in person decides: the verified e-mail, else `issuer#subject`.

    user: claims of the ID token, with Streamlit's is_logged_in. now: seconds since 1970. alone: whether one provider
    only lets people in here; where there are more the e-mail stands with its issuer, `e-mail#issuer`, for each says of
    its own which e-mails are verified. An e-mail that the provider does not call verified may be anybody's. A subject
    is unique at its issuer only (OpenID Connect Core, section 5.7). `exp` is that of the token, minutes at some
    providers, and the cookie lasts 30 days: the session's end is `hours` after `iat`, when the provider issued the
    token. Raises SignInError for nobody, for a session that has ended, and for a name that is none.
    """
    if user.get("is_logged_in") is not True:
        raise SignInError("Nobody is signed in.")
    issued = user.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float) or not 0 < issued < FAR:  # nan is neither
        raise SignInError("The sign-in does not say when it was made (`iat`); sign in again.")
    if issued - now > CLOCKS:
        raise SignInError(
            f"The sign-in was made {(issued - now) / 60:,.0f} minutes from now (`iat`): the clocks of provider and "
            "dashboard differ; set them right and sign in again."
        )
    if now - issued > hours * 3600:
        made = datetime.fromtimestamp(issued, UTC)
        raise SignInError(
            f"The sign-in of {made:%Y-%m-%d %H:%M} UTC has ended: it holds {hours:g} hours. Sign in again."
        )
    email, issuer, subject = (str(user.get(key) or "").strip() for key in ("email", "iss", "sub"))
    place = _without_hash(issuer)
    if email and "://" not in email and user.get("email_verified") in (True, "true") and (alone or issuer):
        return _as_kept(email if alone else f"{email}#{place}")
    if not issuer or not subject:
        raise SignInError("The provider sent neither a verified e-mail nor issuer and subject; ask who runs it.")
    return _as_kept(f"{place}#{subject}")


def _without_hash(issuer: str) -> str:
    """The issuer with its own # escaped, so that the one that joins is told from it. By the standard it has none."""
    return issuer.replace("%", "%25").replace("#", "%23") if "#" in issuer or "%" in issuer else issuer


def _as_kept(name: str) -> str:
    try:
        return person_name(name)
    except StoreError as error:
        raise SignInError(f"The provider sent a name that cannot be used here: {error}") from None


def providers_of(auth: Mapping[str, Any]) -> tuple[str, ...]:
    """The providers of `[auth]`: "default" for its own keys, then the named ones. Raises SignInError for a bad setup."""
    place = "[auth] in Streamlit's secrets"
    secret, redirect = str(auth.get("cookie_secret", "")), str(auth.get("redirect_uri", ""))
    if len(secret) < SECRET_LENGTH:
        raise SignInError(
            f"cookie_secret of {place} has {len(secret)} characters; it takes {SECRET_LENGTH} or more, or sign-ins can be "
            'forged. Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    if len(zlib.compress(secret.encode(), 9)) < SECRET_PACKED or len(set(secret)) < SECRET_LETTERS:
        raise SignInError(
            f"cookie_secret of {place} repeats itself and can be guessed, so that sign-ins can be forged. Make one with: "
            'python -c "import secrets; print(secrets.token_hex(32))"'
        )
    scheme, host = split_address(redirect)
    if not redirect.endswith("/oauth2callback") or scheme not in ("http", "https") or not host:
        raise SignInError(
            f"redirect_uri of {place} is {redirect!r}; it must be this dashboard's address with /oauth2callback."
        )
    if scheme == "http" and not is_loopback(host):
        raise SignInError(f"redirect_uri of {place} is {redirect!r}; beyond this machine it must begin with https.")
    named = {key: value for key, value in auth.items() if isinstance(value, Mapping) and key != "client_kwargs"}
    found = {"default": auth, **named} if "client_id" in auth or not named else named
    for name, section in found.items():
        missing = [key for key in PROVIDER_KEYS if not section.get(key)]
        if missing:
            where = place if name == "default" else f"[auth.{name}]"
            raise SignInError(
                f"{where} lacks {', '.join(missing)}; your provider gives them when the app is registered."
            )
        _https(str(section["server_metadata_url"]), place if name == "default" else f"[auth.{name}]")
    return tuple(found)


def _https(url: str, where: str) -> None:
    """Whoever can change what is read at this address says who signs in. Raises SignInError for an open one."""
    scheme, host = split_address(url)
    if not host or scheme not in ("http", "https") or (scheme == "http" and not is_loopback(host)):
        raise SignInError(
            f"server_metadata_url of {where} is {url!r}; it must begin with https, or anybody on the way could say who "
            "signs in."
        )


# The session ------------------------------------------------------------------------------------------------------


def auth_settings() -> Mapping[str, Any] | None:
    """`[auth]` of Streamlit's secrets, None without. Raises SignInError for a file that cannot be read: it may hold it."""
    if not any(Path(path).exists() for path in st.get_option("secrets.files")):
        return None
    try:
        return st.secrets.get("auth")
    except (OSError, ValueError, StreamlitError) as error:
        LOGGER.error("Streamlit's secrets cannot be read: %s", error)
        raise SignInError(
            "Streamlit's secrets cannot be read and may hold [auth], so nobody is let in; the server's log says what is "
            "wrong with them."
        ) from error


def entrance() -> Entrance:
    """Who is here, and whether they may go in."""
    try:
        auth = auth_settings()
        if auth is not None:
            return _signed_in(auth)
    except SignInError as error:
        return Entrance("", str(error))
    who = getpass.getuser()
    if os.environ.get(REMOTE) == "1" or not st.runtime.exists():
        return Entrance(who)
    words = local_refusal(
        listens=st.get_option("server.address"), headers=st.context.headers, client=st.context.ip_address
    )
    return Entrance("" if words else who, words)


def _signed_in(auth: Mapping[str, Any]) -> Entrance:
    """The entrance where sign-in is on. Raises SignInError for a bad setup."""
    offered, hours = providers_of(auth), session_hours()
    parts = urlsplit(str(auth["redirect_uri"]).replace("{port}", str(st.get_option("server.port"))))
    origin, user = f"{parts.scheme}://{parts.netloc}", st.user.to_dict()
    try:
        who = identity(user, now=time.time(), hours=hours, alone=len(offered) == 1)
        return Entrance(who, signed_in=True, origin=origin)
    except SignInError as error:
        return Entrance("", str(error) if user.get("is_logged_in") else "", offered, origin=origin)


def who_is_here() -> str:
    """The name under which this session decides. Asked anew at every act: a sign-in can end between two clicks.

    Raises SignInError where nobody may act.
    """
    found = entrance()
    if not found.who:
        raise SignInError(found.words or "Nobody is signed in; sign in first.")
    return found.who


# What is drawn ----------------------------------------------------------------------------------------------------


def gate(found: Entrance) -> None:
    """End the run before anything of a pool is read, unless somebody may go in: with a refusal or the way to sign in."""
    if found.who:
        return
    st.title("Pairwright")
    if not found.providers:
        st.error(found.words, icon=":material/block:")
        st.stop()
    if found.words:
        st.warning(found.words, icon=":material/schedule:")
    here = urlsplit(st.context.url or found.origin)
    if here.netloc != urlsplit(found.origin).netloc:
        st.info(f"Sign-in comes back to {found.origin}; open the dashboard there.", icon=":material/link:")
        st.link_button(f"Open {found.origin}", found.origin)
        st.stop()
    for name in found.providers:
        label = "Sign in" if name == "default" else f"Sign in with {name}"
        if st.button(label, key=f"sign_in_{name}", type="primary", icon=":material/login:"):
            try:
                st.login(None if name == "default" else name)
            except StreamlitError as error:
                st.error(f"Sign-in could not be started: {error}", icon=":material/error:")
    st.stop()


def who_line(found: Entrance) -> None:
    """Under the navigation: who decides here, with which role, and the way out."""
    if found.signed_in:
        st.text(found.who, help="Decisions are stored under this name.")
        role_line(found.who)
        st.button("Sign out", key="sign_out", icon=":material/logout:", on_click=st.logout)
    elif os.environ.get(REMOTE) == "1":
        st.caption(
            f"Local single-user mode, open to other machines ({REMOTE}=1): whoever reaches this dashboard decides as "
            f"`{found.who}`."
        )
    else:
        st.caption(
            f"Local single-user mode: this dashboard answers on this machine only. Decisions are stored as `{found.who}`."
        )


def role_line(who: str) -> None:
    """A person's role in this workspace, or what it means to have none."""
    try:
        named: dict[str, str] = review_store().people()
    except CurationError as error:
        st.caption(f"Role unknown: {error}")
        return
    if who in named:
        st.caption(f"Role: {named[who]}")
    elif named:
        st.caption("No role here: you may look; ask an administrator for more.")
    else:
        st.warning("Nobody is named here: whoever signs in may do everything. Name an administrator first:")
        st.code(f"python -m curation people {shlex.quote(who)} --role admin", language="bash", wrap_lines=True)
