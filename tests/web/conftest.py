import ssl
import subprocess

import pytest

from tests.web.fake_master import ALICE, FakeMaster
from webserver import make_app
from webserver.connections import Limits
from webserver.listener import Listener
from webserver.program import make_runner
from webserver.proxies import Proxies


@pytest.fixture
def master():
    return FakeMaster()


@pytest.fixture
async def client(aiohttp_client, master):
    """Alice's programs: each request carries her token."""
    return await aiohttp_client(make_app(master), headers={"Authorization": f"Bearer {ALICE}"})


@pytest.fixture
async def stranger(aiohttp_client, master):
    """Somebody without a token; keeps cookies, as a browser does."""
    return await aiohttp_client(make_app(master))


@pytest.fixture
async def listening(master):
    """Starts the real listener, as the program does; answers with its port."""
    opened = []

    async def listen(
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        proxies: Proxies | None = None,
    ) -> tuple[Listener, int]:
        proxies = proxies or Proxies()
        runner = make_runner(make_app(master, proxies=proxies))
        await runner.setup()
        assert runner.server is not None
        listener = Listener(runner.server, proxies, tls, limits)
        [(_, port)] = await listener.listen("127.0.0.1", 0)
        opened.append((listener, runner))
        return listener, port

    yield listen
    for listener, runner in opened:
        listener.close()
        await runner.cleanup()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for localhost and its key, as files; valid for a day."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(folder, name="localhost"):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "1", "-subj", f"/CN={name}", "-keyout", str(key)]
        + ["-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key
