"""The key that signs batches: Ed25519, kept outside the workspace, made when it is first needed."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from curation.errors import SignatureError
from curation.settings import SIGNING_KEY, signing_key_file, workspace
from curation.system.file_lock import locked

KEY = SIGNING_KEY
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def key_path() -> Path:
    """Where the private key is: CURATION_SIGNING_KEY, else ~/.config/pairwright/signing_key.pem. Raises
    SignatureError for a place inside the workspace: who can change what is signed must not find the key beside it."""
    try:
        path = signing_key_file()
        inside = path.resolve().is_relative_to(workspace().resolve())
    except (OSError, RuntimeError) as error:
        raise SignatureError(f"{KEY} names no usable place ({error}); name a file outside the workspace.") from None
    if inside:
        raise SignatureError(f"the signing key {path} lies inside the workspace; set {KEY} to a place outside it.")
    return path


def private_key(*, create: bool = True) -> Ed25519PrivateKey | None:
    """The key; made with access for its owner alone where there is none yet. Raises SignatureError."""
    path = key_path()
    try:
        if os.path.lexists(path):
            return _read(path)
        return _made(path) if create else None
    except OSError as error:
        raise SignatureError(
            f"the signing key {path} cannot be used ({error.strerror or error}); mend it, or name another in {KEY}."
        ) from None


def _read(path: Path) -> Ed25519PrivateKey:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise SignatureError(f"the signing key {path} cannot be used: it is no file; name a PEM file in {KEY}.")
    if found.st_mode & _OTHERS_WRITE:
        raise SignatureError(
            f"the signing key {path} may be changed by others (mode {stat.S_IMODE(found.st_mode):o}); it must be its "
            f"owner's alone: make sure that it is still yours, then chmod 600 {path}."
        )
    if found.st_nlink > 1:
        raise SignatureError(
            f"the signing key {path} has {found.st_nlink} names (hard links), of which one may lie in the workspace; "
            f"it must have one: copy it to a file of its own and name that in {KEY}."
        )
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except TypeError:
        raise SignatureError(
            f"the signing key {path} cannot be used: it is encrypted, and Pairwright asks for no passphrase; store it "
            f"decrypted (openssl pkey -in KEY -out NEW, chmod 600 NEW) and name that in {KEY}."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError(
            f"the signing key {path} cannot be used: it holds no private key in PEM form; put the key back, or name "
            f"another in {KEY}."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(
            f"the signing key {path} cannot be used: it is of another kind than Ed25519; name another file in {KEY}."
        )
    return key


def _made(path: Path) -> Ed25519PrivateKey:
    """A new key, whole under its name or not there; of two at once the first one's is both's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        if os.path.lexists(path):
            return _read(path)
        made = Ed25519PrivateKey.generate()
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        staging.unlink(missing_ok=True)
        handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        staging.rename(path)
        return made


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public half, 64 hex digits: what others need to check a signature."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def normal_public(text: str) -> str:
    """A public key as somebody typed it, in lower case and without blanks. Raises SignatureError where it is none."""
    plain = re.sub(r"\s+", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise SignatureError(
            f"public key {text[:80]!r} is not 64 hex digits; give what `sign` printed or signature.json holds, as its "
            "owner told you."
        )
    return plain


def signed_by(public: str, signature: str, content: bytes) -> bool:
    """Whether `signature` (hex) of `content` was made by the key whose public half is `public` (hex)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True
