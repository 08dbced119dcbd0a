"""Which agents work on a queue that takes only so many? Pure, so that the same ones stay.

Who holds items stays until they are done, who was chosen stays while they are there, and the rest
are those that are chosen for the fewest queues, so that many queues spread over all agents.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping


def choose(
    task: str,
    most: int,
    candidates: Iterable[str],
    *,
    chosen: frozenset[str],
    holding: Iterable[str],
    chosen_for: Mapping[str, int],
) -> frozenset[str]:
    """`candidates`: that may take and are there. `chosen`: those so far. `holding`: that work on
    an item of it. `chosen_for`: of how many queues each is among the chosen.

    More than `most` only while so many hold items.
    """
    there = set(candidates)
    kept = set(holding)
    for agent in sorted(chosen & there - kept, key=_lot(task)):
        if len(kept) >= most:
            break
        kept.add(agent)
    if len(kept) < most:
        lot = _lot(task)
        kept.update(
            heapq.nsmallest(
                most - len(kept),
                there - kept,
                key=lambda agent: (chosen_for.get(agent, 0), lot(agent)),
            )
        )
    return frozenset(kept)


def _lot(task: str) -> Callable[[str], bytes]:
    """Each task draws its own, always the same."""
    return lambda agent: hashlib.blake2b(f"{task} {agent}".encode(), digest_size=8).digest()
