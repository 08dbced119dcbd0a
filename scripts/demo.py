"""What does mschedule look like at work? Master, web and three agents here, and a first task.

Everything lies in .demo: the store, the keys, the logs, url and token. It is thrown away
at the next start. Ctrl-C stops all of it, scripts that run included.
"""

import argparse
import http.client
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.fleet import ROOT, Fleet
from utils import StartError, state_dir, write_private

HOSTS = ("web01", "web02", "db1")
TARGETS = "web[01-02],db1"
SCRIPT = """\
echo "hello from $(uname -n), run $MSCHEDULE_RUN_ID"
uptime
"""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    demo: Path = options.dir
    try:
        with state_dir(demo):
            _check_ports(options.master_port, options.web_port)
            return _play(_emptied(demo), options)
    except StartError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped.")
        return 0 if not options.once else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__, allow_abbrev=False)
    parser.add_argument("--once", action="store_true", help="leave after the first task's results")
    parser.add_argument(
        "--dir", type=_absolute, default=ROOT / ".demo", help="where it all lies; default .demo"
    )
    parser.add_argument("--web-port", type=int, default=9900, help="default 9900")
    parser.add_argument("--master-port", type=int, default=9000, help="default 9000")
    return parser


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second Ctrl-C must not break off the tidying.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _check_ports(master_port: int, web_port: int) -> None:
    for port, flag in ((master_port, "--master-port"), (web_port, "--web-port")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                raise StartError(
                    f"port {port} cannot be had ({error}); give another with {flag}"
                ) from None


def _emptied(demo: Path) -> Path:
    for entry in demo.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()
    return demo


def _play(demo: Path, options: argparse.Namespace) -> int:
    print(f"starting a master, a web and {len(HOSTS)} agents …")
    fleet = Fleet(demo, HOSTS, master_port=options.master_port, web_port=options.web_port)
    try:
        with fleet:
            write_private(demo / "url", f"{fleet.url}\n".encode())
            write_private(demo / "token", f"{fleet.token}\n".encode())
            succeeded = _show_a_task(fleet)
            _show_the_way_in(fleet, demo)
            if options.once:
                return 0 if succeeded else 1
            print("Ctrl-C stops everything, scripts that run included.", flush=True)
            return _watch(fleet)
    except (AssertionError, OSError, http.client.HTTPException) as error:
        raise StartError(f"{error}; the logs are in {demo}") from error


def _show_a_task(fleet: Fleet) -> bool:
    api = fleet.api
    task = api.submit(SCRIPT, TARGETS, name="demo", parallel=0)
    ended = api.finished(task)
    for run in api.runs(task):
        print(f"\n{run['hostname']}: {run['state']}, exit code {run['code']}")
        for line in api.output(task, run["id"]).decode(errors="replace").splitlines():
            print(f"    {line}")
    print(f"\ntask {task}: {ended['state']}")
    return bool(ended["state"] == "SUCCEED")


def _show_the_way_in(fleet: Fleet, demo: Path) -> None:
    code = (fleet.master.state_dir / "setup-code").read_text().strip()
    print(f"\nurl    {fleet.url}\ntoken  {_shown(demo / 'token')}\n")
    print(f"Log in with what is in the token's file, or make yourself an account:\n\n    {code}\n")
    print(f"is the code for {fleet.url}/setup\n", flush=True)


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _watch(fleet: Fleet) -> int:
    """Stay until a signal comes; a program that ends by itself is an error."""
    while True:
        for program in fleet.programs:
            if not program.running:
                raise StartError(f"{program.name} has ended; see {program.log_path}")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
