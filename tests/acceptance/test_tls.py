"""The web over TLS, as people's programs and browsers meet it."""

import shutil
import signal
import subprocess

import pytest

from tests.fleet import ROOT, Fleet
from tests.support import until


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


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """One that was started in the open on this machine, and then with a certificate."""
    root = tmp_path_factory.mktemp("tls")
    with Fleet(root, ["web01"]) as fleet:
        certificate, key = make_certificate(root)
        fleet.web.arguments += ["--tls-cert", str(certificate), "--tls-key", str(key)]
        fleet.web.restart()
        until(lambda: curl(fleet, root, "/healthz").returncode == 0, 60, "a web that speaks TLS")
        yield fleet


def curl(fleet, root, path, *arguments):
    return subprocess.run(
        ["curl", "-sS", "-D", "-", "--cacert", root / "cert.pem", *arguments]
        + [f"https://localhost:{fleet.web_port}{path}"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_answers_programs(fleet):
    answer = curl(fleet, fleet.root, "/api/v1/agents", "-H", f"Authorization: Bearer {fleet.token}")
    assert "HTTP/1.1 200" in answer.stdout
    assert "strict-transport-security: max-age=" in answer.stdout.lower()
    assert '"hostname":"web01"' in answer.stdout
    assert fleet.token not in fleet.web.log


def test_it_does_not_answer_in_the_open(fleet):
    plain = subprocess.run(
        ["curl", "-s", f"http://127.0.0.1:{fleet.web_port}/healthz"],
        capture_output=True,
        check=False,
    )
    assert plain.returncode != 0
    assert plain.stdout == b""


def test_it_takes_a_renewed_certificate_without_a_restart(fleet, tmp_path):
    pid = fleet.web.pid
    old = tmp_path / "cert.pem"
    shutil.copy(fleet.root / "cert.pem", old)
    make_certificate(fleet.root)
    assert curl(fleet, tmp_path, "/healthz").returncode == 0  # still the old one
    fleet.web.signal(signal.SIGHUP)
    until(lambda: curl(fleet, fleet.root, "/healthz").returncode == 0, 60, "the new certificate")
    assert curl(fleet, tmp_path, "/healthz").returncode != 0
    assert fleet.web.running and fleet.web.pid == pid


def test_its_unit_has_the_certificate_read_again():
    unit = (ROOT / "packaging/systemd/mschedule-web.service").read_text()
    assert "ExecReload=/bin/kill -HUP $MAINPID" in unit
