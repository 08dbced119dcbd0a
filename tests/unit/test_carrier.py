"""One process carries several runs through, and drops none of those that it was given."""

import os
import threading

from agent import carrier


def test_it_carries_through_whatever_it_was_given_also_when_it_has_carried_enough(monkeypatch):
    carried, ordered = [], ["run.1"]
    orders, order = os.pipe()
    heard, done = os.pipe()

    def carry_through(directory: str, cgroup_home: str | None, wake: int) -> bool:
        carried.append(directory)
        return True

    def order_another_whenever_one_is_done() -> None:
        while os.read(heard, 4096):
            ordered.append(f"run.{len(ordered) + 1}")
            os.write(order, ordered[-1].encode())

    monkeypatch.setattr(os, "setsid", lambda: None)
    monkeypatch.setattr(carrier, "_become_subreaper", lambda: None)
    monkeypatch.setattr(carrier, "_listen_for_signals", lambda: -1)
    monkeypatch.setattr(carrier, "_carry_through", carry_through)
    monkeypatch.setattr(carrier, "MOST_RUNS", 3)

    runner = threading.Thread(target=order_another_whenever_one_is_done)
    runner.start()
    carrier.carry("run.1", None, orders, done)
    os.close(done)
    runner.join()

    assert carried == ordered == ["run.1", "run.2", "run.3"]
    for descriptor in (orders, order, heard):
        os.close(descriptor)
