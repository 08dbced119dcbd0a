"""What does an agent say, and what is it answered? Starts the agent, and writes down each call.

For tests alone: `recording.py app.py …` starts the agent as it is; each call that was answered is
one line, the msgpack of (method, argument, answer) as base64, in the file that RECORD names.
"""

import base64
import importlib
import os
import sys
from pathlib import Path

import msgspec


def record_calls(file: str) -> None:
    from wire.client import Client

    exchange = Client._exchange

    def recorded(self: Client, method: str, argument: object, limit_s: float) -> object:
        answer = exchange(self, method, argument, limit_s)
        with open(file, "ab") as record:
            call = msgspec.msgpack.encode((method, argument, answer))
            record.write(base64.b64encode(call) + b"\n")
        return answer

    Client._exchange = recorded  # type: ignore[method-assign]


def main() -> int:
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    del sys.argv[0]
    program = importlib.import_module(Path(sys.argv[0]).stem)  # which patches, first of all
    record_calls(os.environ["RECORD"])
    code: int = program.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
