"""What must hold in every World that can be reached, and when everything has come to rest."""

from tests.model.world import STATES, Place, Setting, Store, World
from wire.states import ENDED_RUN, ENDED_TASK, Cause, RunState


class Violated(Exception):
    """A promise that is broken in a world that can be reached."""


def check(world: World, setting: Setting) -> None:
    """Raise Violated if the world breaks a promise."""
    for index, place in enumerate(world.places):
        _check_run(world, index, place)
    _check_counters(world.store)
    alive = sum(
        place.script and run.state is not RunState.UNKNOWN
        for place, run in zip(world.places, world.store.runs, strict=True)
    )
    if setting.parallel and alive > setting.parallel:
        raise Violated(f"{alive} runs are alive, {setting.parallel} may be")


def _check_run(world: World, index: int, place: Place) -> None:
    run = world.store.runs[index]
    if place.starts > 1:
        raise Violated(f"run {index} was started twice")
    if place.broke_cancel and world.store.cancelled:
        raise Violated(f"run {index} was started by an agent process born after its cancel")
    if run.state is RunState.SUCCEED and place.ended is not Cause.EXIT:
        raise Violated(f"run {index} is SUCCEED and has not ended well")
    if world.store.restored:
        return  # what was lost with the store may be contradicted by a later cancel or expiry
    if run.state is RunState.SKIPPED and place.starts:
        raise Violated(f"run {index} is SKIPPED, and it was started")
    if run.state is RunState.CANCELLED and place.starts and place.ended in (None, Cause.EXIT):
        raise Violated(f"run {index} is CANCELLED, and it lives or ended by itself")


def _check_counters(store: Store) -> None:
    if sum(store.counts) != len(store.runs) or min(store.counts) < 0:
        raise Violated(f"the counters {store.counts} do not sum up to {len(store.runs)}")
    if store.task in ENDED_TASK:
        return  # its counters stay as they were when it ended
    for state, number in zip(STATES, store.counts, strict=True):
        if number != sum(run.state is state for run in store.runs):
            raise Violated(f"{number} runs are counted as {state}")


def at_rest(world: World) -> bool:
    """Everything has ended and is known to have, also to the agent."""
    return (
        world.store.task in ENDED_TASK
        and all(run.state in ENDED_RUN for run in world.store.runs)
        and not any(world.disk.entries)
        and not world.net
    )


def check_at_rest(world: World) -> None:
    """Raise Violated if something is called unknown that the agent could have told."""
    for index, (run, done) in enumerate(zip(world.store.runs, world.disk.done, strict=True)):
        if run.state is RunState.UNKNOWN and done and done.state is not RunState.UNKNOWN:
            raise Violated(f"run {index} stays UNKNOWN, and its agent knows it was {done.state}")
