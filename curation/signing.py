"""The key that signs batches: Ed25519, kept outside the workspace, made when it is first needed."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from curation.errors import SignatureError
from curation.settings import workspace

KEY = "CURATION_SIGNING_KEY"


def key_path() -> Path:
    """Where the private key is: CURATION_SIGNING_KEY, else ~/.config/pairwright/signing_key.pem. Raises
    SignatureError for a place inside the workspace: who can change what is signed must not find the key beside it."""
    path = Path(os.environ.get(KEY) or Path.home() / ".config" / "pairwright" / "signing_key.pem").expanduser()
    if path.resolve().is_relative_to(workspace().resolve()):
        raise SignatureError(f"the signing key {path} lies inside the workspace; set {KEY} to a place outside it.")
    return path


def private_key(*, create: bool = True) -> Ed25519PrivateKey | None:
    """The key; made with access for its owner alone where there is none yet. Raises SignatureError."""
    path = key_path()
    try:
        if path.exists():
            key = load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise SignatureError(f"{path} is not an Ed25519 key; name another file in {KEY}.")
            return key
        if not create:
            return None
        made = Ed25519PrivateKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made
    except (OSError, ValueError) as error:
        raise SignatureError(
            f"the signing key {path} cannot be used ({error}); mend it, or name another in {KEY}."
        ) from None


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public half, 64 hex digits: what others need to check a signature."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def signed_by(public: str, signature: str, content: bytes) -> bool:
    """Whether `signature` (hex) of `content` was made by the key whose public half is `public` (hex)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True
