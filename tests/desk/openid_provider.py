"""A real OpenID provider on this machine: discovery, authorization code, RS256 ID tokens, keys, end of session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oidc_provider_mock import User, run_server_in_thread

SECRET = "0123456789abcdef0123456789abcdef-of-a-test"

ADMIN = User(sub="u1", claims={"email": "ada@example.org", "email_verified": True})
REVIEWER = User(sub="u2", claims={"email": "rae@example.org", "email_verified": True})
STRANGER = User(sub="u3", claims={"email": "sam@example.org", "email_verified": True})
UNVERIFIED = User(sub="u4", claims={"email": "ada@example.org", "email_verified": False})
PEOPLE = (ADMIN, REVIEWER, STRANGER, UNVERIFIED)


@contextmanager
def provider() -> Iterator[str]:
    """The issuer's address; whoever is in PEOPLE signs in there with one click on their subject."""
    with run_server_in_thread(user_claims=PEOPLE) as server:
        yield f"http://localhost:{server.server_port}"


def write_secrets(folder: Path, issuer: str, port: int, **changes: str) -> Path:
    """A secrets.toml for a dashboard on this port."""
    settings = {
        "redirect_uri": f"http://127.0.0.1:{port}/oauth2callback",
        "cookie_secret": SECRET,
        "client_id": "pairwright",
        "client_secret": "a-test",
        "server_metadata_url": f"{issuer}/.well-known/openid-configuration",
        **changes,
    }
    path = folder / "secrets.toml"
    path.write_text("[auth]\n" + "".join(f'{key} = "{value}"\n' for key, value in settings.items()))
    return path
