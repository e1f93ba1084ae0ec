"""Signatures of model directories, by a key of one's own.

They are those of model-signing (https://github.com/sigstore/model-transparency).

A signature is a file beside the model's own. It is no part of the model's digest, and covers every other file there is.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from accelstack_workloads.errors import NotVerifiedError, WorkloadError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SIGNATURE = "model.sig"
OWNERS_ALONE = 0o600


def public_key(key: Path) -> str:
    """The public part of a private key, as one line: base64 of its SubjectPublicKeyInfo (RFC 5480).

    A key on the curve P-256 is made where there is no file, for its owner alone.

    Args:
        key: PEM file of the private key.

    Raises:
        WorkloadError: the file is no such key, others may read it, or it cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        if not key.exists():
            _write(key, ec.generate_private_key(ec.SECP256R1()))
        mode, content = key.stat().st_mode, key.read_bytes()
    except OSError as error:
        raise WorkloadError(f"signing-key: {key} cannot be used ({error.strerror}); give another path") from error
    if stat.S_IMODE(mode) & ~OWNERS_ALONE:
        raise WorkloadError(f"signing-key: {key} may be read by others; run `chmod 600 {key}`")
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise WorkloadError(f"signing-key: {key} is no private key in PEM without a password; give one") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise WorkloadError(f"signing-key: {key} is not on an elliptic curve; let one be made, at a path that is free")
    der = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def sign(folder: Path, key: Path) -> bytes:
    """The signature of a model directory; nothing is written."""
    from model_signing import hashing, signing

    with tempfile.TemporaryDirectory() as place:
        written = Path(place) / SIGNATURE
        hashed = hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE])
        signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(hashed).sign(folder, written)
        return written.read_bytes()


def verify(folder: Path, public: str) -> None:
    """Refuses a model directory that is not signed by the key, or holds anything else than what was signed.

    Args:
        folder: with the model's files and their signature.
        public: as `public_key` gives it.

    Raises:
        WorkloadError: `public` is no such key.
        NotVerifiedError: there is no signature, it is another key's, or a file was changed, added or taken away.
    """
    from model_signing import hashing, verifying

    if not (folder / SIGNATURE).is_file():
        raise NotVerifiedError(f"the model in {folder} is not signed; register it with --signing-key")
    with tempfile.TemporaryDirectory() as place:
        pem = Path(place) / "key.pem"
        pem.write_bytes(_pem(public))
        hashed = hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=pem).set_hashing_config(hashed)
        try:
            verifier.verify(folder, folder / SIGNATURE)
        except Exception as error:  # a damaged signature shows as errors of several libraries
            reason = str(error).splitlines()[0].partition(": Expected")[0] if str(error) else type(error).__name__
            raise NotVerifiedError(
                f"the model in {folder} is not what the key signed ({reason}); register it again, or check the key"
            ) from error


def _pem(public: str) -> bytes:
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_der_public_key(base64.b64decode(public, validate=True))
    except (ValueError, binascii.Error) as error:
        raise WorkloadError(f"public-key: {public!r} is no public key; give the one that `register` printed") from error
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write(path: Path, key: EllipticCurvePrivateKey) -> None:
    """Writes a new key that nobody else can read at any moment, unless somebody was faster."""
    from cryptography.hazmat.primitives import serialization

    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNERS_ALONE), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)  # fails where there is one by now
    except FileExistsError:
        pass
    finally:
        partial.unlink()
