"""Does the store stay whole when other processes open and close it beside the master?"""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from master.engine import connect, migrate

COUNT = "SELECT count(*) FROM meta"
OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("INSERT INTO meta VALUES ('other', '1')")
connection.close()
"""


def test_another_process_that_lets_it_go_takes_nothing_with_it(tmp_path: Path):
    # Given a master's connection that has written, and one more that it opens, for a
    # checkpoint or after trouble with the disk
    path = tmp_path / "store.sqlite"
    with closing(connect(path)) as writer:
        migrate(writer)
        before = writer.execute(COUNT).fetchone()[0]
        connect(path).close()

        # When another process opens the store, writes, and closes it
        subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True)

        # Then both see what the other writes
        assert writer.execute(COUNT).fetchone()[0] == before + 1
        writer.execute("INSERT INTO meta VALUES ('ours', '1')")
        with closing(sqlite3.connect(path)) as third:
            assert third.execute(COUNT).fetchone()[0] == before + 2
