"""Certificates for tests, of an authority that nobody knows; valid for a day."""

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]


class Authority:
    """`file` is what whoever trusts it has."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.file, self._key = folder / "authority.pem", folder / "authority.key"
        _openssl(["-x509", "-subj", "/CN=tests", "-keyout", self._key, "-out", self.file])

    def context(self, name: str) -> ssl.SSLContext:
        """For a server that is called so, a hostname or an address."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        kind = "IP" if name[0].isdecimal() else "DNS"
        signed: list[str | Path] = [
            "-x509",
            "-CA",
            self.file,
            "-CAkey",
            self._key,
            "-subj",
            "/CN=server",
        ]
        named = ["-addext", f"subjectAltName={kind}:{name}"]
        _openssl([*signed, *named, "-keyout", key, "-out", certificate])
        return _serving(certificate, key)


def self_signed(folder: Path, address: str) -> ssl.SSLContext:
    """For a server with a certificate that vouches for itself."""
    certificate, key = folder / "self.pem", folder / "self.key"
    named = ["-x509", "-subj", "/CN=self", "-addext", f"subjectAltName=IP:{address}"]
    _openssl([*named, "-keyout", key, "-out", certificate])
    return _serving(certificate, key)


def _serving(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _openssl(arguments: Sequence[str | Path]) -> None:
    command = ["openssl", "req", *_NEW_KEY, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
