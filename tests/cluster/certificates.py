"""Keys and certificates of one control plane, in files: an authority, a server on loopback, an administrator."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files in one folder. `tls.crt` and `tls.key` are the server's, as controllers look for them."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def server(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def server_key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def admin(self) -> Path:
        return self.folder / "admin.crt"

    @property
    def admin_key(self) -> Path:
        return self.folder / "admin.key"

    def kubeconfig(self, server: str) -> str:
        """A kubeconfig of the administrator, with the certificates in it."""
        cluster = {"server": server, "certificate-authority-data": _encoded(self.authority)}
        user = {"client-certificate-data": _encoded(self.admin), "client-key-data": _encoded(self.admin_key)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "tests", "cluster": cluster}],
                "users": [{"name": "admin", "user": user}],
                "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
                "current-context": "tests",
            }
        )


def make(folder: Path) -> Certificates:
    """New keys and certificates, valid for a day, in a folder that it makes."""
    folder.mkdir(mode=0o700)
    made = Certificates(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "control plane of a test")])
    authority = (
        _started(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    made.authority.write_bytes(authority.public_bytes(_PEM))
    for certificate, file, who in (
        (made.server, made.server_key, [x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
        (
            made.admin,
            made.admin_key,
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
                x509.NameAttribute(NameOID.COMMON_NAME, "admin"),
            ],
        ),
    ):
        own = ec.generate_private_key(ec.SECP256R1())
        signed = (
            _started(x509.Name(who), name, own.public_key())
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        certificate.write_bytes(signed.public_bytes(_PEM))
        file.touch(mode=0o600)
        file.write_bytes(own.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return made


def _started(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
