"""Do two hosts speak with one key? Each process of an agent names itself by a random nonce.

A state directory belongs to one process at a time, so the processes of one identity follow each
other: a nonce is done with once another one has spoken. Packets of a dead process may still
arrive, also its `register`; but the session that answers it reaches nobody. So a message under
a session that was given to a nonce which was done with by then proves that both processes live,
and nothing else does: not a restart, a reconnect, a late packet, or two registers in one go.

Pure decisions, on the memory of one master process; after its restart two hosts are told apart
as soon as each has spoken again. tests/unit/test_clones.py searches all orders.
"""

from msgspec import Struct

REMEMBERED = 8  # nonces done with, per agent; to forget one can only mean to notice later


class Lives(Struct, frozen=True):
    """What was heard of the processes behind one key. A nonce of "" tells of none.

    `nonce`: whose the present session is. `others`: registered before it. `done`: those that
    another one has outlived. `suspect`: the session was given to one of these.
    """

    nonce: str = ""
    others: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    suspect: bool = False


def registered(lives: Lives, nonce: str) -> Lives:
    """A session is given to `nonce`, which ends the one before."""
    before = (*lives.others, lives.nonce)
    others = tuple(one for one in before if one and one != nonce and one not in lives.done)
    return Lives(nonce, others[-REMEMBERED:], lives.done, nonce in lives.done)


def spoke(lives: Lives) -> Lives | None:
    """A message came under the present session; None: two processes live."""
    if lives.suspect:
        return None
    if not lives.others:
        return lives
    return Lives(lives.nonce, (), (*lives.done, *lives.others)[-REMEMBERED:])
