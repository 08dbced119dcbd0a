"""How is what people send kept secret on its way? TLS of our own, or none that is meant."""

import logging
import ssl
import stat
from pathlib import Path

from utils import MisfitSettings, StartError
from webserver.proxies import parsed_address
from webserver.settings import Settings

log = logging.getLogger(__name__)

LEAST_VERSION = ssl.TLSVersion.TLSv1_2


class Tls:
    """Certificate and key from two files, which can be read again while connections go on."""

    def __init__(self, certificate: Path, key: Path):
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = LEAST_VERSION
        self.context.set_alpn_protocols(["http/1.1"])
        _load(self.context, certificate, key)

    def renew(self) -> None:
        """Take what the files hold now, for new connections; what cannot be used is left."""
        try:
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._certificate, self._key)
            _load(self.context, self._certificate, self._key)
        except StartError as error:
            log.error(f"{error}; going on with the certificate that was read before")
        else:
            log.info(f"read the certificate in {self._certificate} again")


def tls_of(settings: Settings) -> Tls | None:
    """None: without TLS. MisfitSettings when only one file is given."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        given, missing = ("key", "cert") if settings.tls_cert is None else ("cert", "key")
        raise MisfitSettings(f"--tls-{given} is given without --tls-{missing}: TLS needs both")
    return Tls(settings.tls_cert, settings.tls_key)


def check_open(settings: Settings, addresses: list[str]) -> None:
    """Serving people in the open over a network is only done when it is meant, and is said."""
    exposed = [address for address in addresses if not _stays_here(address)]
    if settings.tls_cert is not None or not exposed:
        return
    if not settings.plain_http:
        raise MisfitSettings(
            f"{exposed[0]} can be reached over the network, where others could read passwords and "
            "tokens on their way: give --tls-cert and --tls-key; or listen on 127.0.0.1, behind a "
            "server that speaks TLS; or say --plain-http if that network is safe"
        )
    log.warning(
        f"serving plain HTTP on {exposed[0]}, as --plain-http says: whoever is on the way can "
        "read and change all that people send and see"
    )


def _stays_here(text: str) -> bool:
    address = parsed_address(text)
    return address is not None and address.is_loopback


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path, flag in ((certificate, "--tls-cert"), (key, "--tls-key")):
        _check_readable(path, flag)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise StartError(
            f"{certificate} and {key} cannot be used for TLS ({_reason(error)}): they take a "
            "certificate with its chain and its unencrypted private key, both as PEM"
        ) from None
    if stat.S_IMODE(key.stat().st_mode) & stat.S_IROTH:
        log.warning(f"every user of this machine can read the private key in {key}: chmod o-r it")


def _check_readable(path: Path, flag: str) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise StartError(f"{flag} {path} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    """Else OpenSSL would ask at the terminal."""
    return ""


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or error.args[-1] or "unknown").replace("_", " ").lower()
