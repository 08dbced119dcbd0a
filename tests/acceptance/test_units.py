"""Would systemd take the units as they are?"""

import shutil
import subprocess

import pytest

from tests.fleet import ROOT

UNITS = sorted((ROOT / "packaging/systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_passes_systemd_analyze_verify(unit, tmp_path):
    # verify insists on a program that exists.
    text = unit.read_text().replace("/opt/mschedule/bin/" + unit.stem, "/bin/true")
    (tmp_path / unit.name).write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_it_ships_a_unit_for_each_program():
    assert [unit.stem for unit in UNITS] == ["mschedule-agent", "mschedule-master", "mschedule-web"]


def test_it_lets_runs_survive_a_restart_of_the_agent():
    lines = (ROOT / "packaging/systemd/mschedule-agent.service").read_text().splitlines()
    assert {"KillMode=process", "Restart=always", "Delegate=yes", "OOMPolicy=continue"} <= {*lines}
    assert not any(line.startswith(("NoNewPrivileges", "Protect", "Private")) for line in lines)
