"""A web server that was taken over is cut off by one command, at the master, while all runs."""

import subprocess
import sys

import pytest

from tests.fleet import ROOT, Fleet
from tests.support import until
from tests.web_peer import web_peer
from wire.errors import Forbidden


def command(fleet: Fleet, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *fleet.master.arguments, *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def webs(fleet: Fleet) -> list[str]:
    listed = command(fleet, "--list-webs")
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.splitlines()


def test_a_revoked_web_server_is_cut_off_and_the_others_are_not(make_fleet):
    fleet = make_fleet()
    with web_peer(fleet.join_string("web")) as peer:
        # Given a second web server, which waits for the next change of the fleet
        assert peer.call("whoami", fleet.token)["role"] == "admin"
        since = peer.call("changes", fleet.token, since=None)["next"]
        waiting = peer.begin("changes", fleet.token, since=since, wait=50)
        first, second = webs(fleet)
        assert f"the key of this web server is {first.split()[0]}\n" in fleet.web.log
        assert "from 127.0.0.1" in second

        # When its key is revoked
        done = command(fleet, "--revoke-web", second.split()[0])
        assert done.returncode == 0, done.stderr

        # Then its next call is refused, and what it waited for is not told to it
        assert peer.refusal("whoami", fleet.token).code == "forbidden"
        task = fleet.api.submit("echo hello")
        with pytest.raises(Forbidden, match="revoked"):
            peer.answer(waiting)

        # And everything else goes on, also after a restart
        assert fleet.api.finished(task)["state"] == "SUCCEED"
        fleet.master.restart()
        until(fleet.is_up, 60, "the fleet")
        assert peer.refusal("whoami", fleet.token).code == "forbidden"
    assert "revoked" not in webs(fleet)[0]
    assert "revoked" in webs(fleet)[1]
    (record,) = fleet.api.items("/api/v1/audit", action="web.revoke")
    assert (record["who"], record["object"]) == ("master", f"web:{second.split()[0]}")


def test_it_says_so_when_no_web_server_has_that_key(make_fleet):
    fleet = make_fleet([])
    refused = command(fleet, "--revoke-web", "0000-1111-2222-3333-4444")
    assert refused.returncode == 1
    assert "--list-webs" in refused.stderr
