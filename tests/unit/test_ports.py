"""Are two processes of tests ever given the same port?"""

import os
import subprocess
import sys

from tests.fleet import ROOT
from tests.support import _take_port, free_port

TAKE = "import sys; from tests.support import _take_port; print(_take_port(int(sys.argv[1])))"


def taken_elsewhere(port: int) -> str:
    """What another process is told that wants it, and has ended since."""
    command = [sys.executable, "-c", TAKE, str(port)]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


def test_it_gives_a_port_to_no_other_process_while_this_one_lives():
    assert taken_elsewhere(free_port()) == "False"


def test_it_has_a_port_back_when_the_process_that_was_given_it_has_ended():
    nobodys = 1_000_000 + os.getpid()  # that free_port never gives, nor this test elsewhere
    assert taken_elsewhere(nobodys) == "True"
    assert taken_elsewhere(nobodys) == "True"
    assert _take_port(nobodys)


def test_it_gives_no_port_twice():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
