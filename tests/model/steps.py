"""What can happen next in a World: what happens by itself, and each fault that is still to come."""

from collections.abc import Callable, Iterator
from typing import Any

from agent.records import Mark
from master import handout
from tests.model.agent_side import agent_steps, poll_step, receive
from tests.model.master_side import Verbs
from tests.model.promises import Violated
from tests.model.world import (
    TO_MASTER,
    Ack,
    Again,
    Budget,
    Disk,
    DoneList,
    Memory,
    Place,
    Register,
    Registered,
    Result,
    Setting,
    Step,
    What,
    World,
    new_session,
    now_of,
    placed,
    powered_off,
    send,
    without_agent,
)
from wire.states import ENDED_TASK, Cause


class Model:
    """All steps that a world can take next."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.verbs = Verbs(setting)

    def calm_steps(self, world: World) -> Iterator[Step]:
        """What happens by itself, the more pressing first."""
        yield from self._process_steps(world)
        yield from self._deliveries(world)
        yield from agent_steps(world, self.setting.slots)
        yield from self._master_steps(world)

    def faults(self, world: World) -> Iterator[Step]:
        for name, left in zip(Budget._fields, world.budget, strict=True):
            if left:
                paid = world._replace(budget=world.budget._replace(**{name: left - 1}))
                fault: Callable[[World], Iterator[Step]] = getattr(self, f"_{name}")
                yield from fault(paid)

    # -- deliveries

    def _deliveries(self, world: World) -> Iterator[Step]:
        for message in world.net:
            rest = world._replace(net=world.net - {message})
            yield from self._delivery(("deliver", message), rest, message)

    def _delivery(self, name: What, world: World, message: Any) -> Iterator[Step]:
        if isinstance(message, TO_MASTER):
            if world.master is not None:
                yield name, self._at_master(world, message)
        elif world.agent is not None and not any(world.agent.todo):
            yield name, receive(world, world.agent, message)

    def _at_master(self, world: World, message: Any) -> World:
        memory = world.master
        assert memory is not None
        match message:
            case Register():
                session = new_session(world)
                world = world._replace(master=Memory(session=session))
                return send(world, Registered(session))
            case Result():
                store = self.verbs.finish(world.store, message, now_of(world))
                return send(world._replace(store=store), Ack(message.run))
        current = None if memory.session is None else str(memory.session)
        if not handout.session_is_current(str(message.session), current):
            return send(world, Again(message.session))
        if isinstance(message, DoneList):
            store = self.verbs.settle(world.store, message, now_of(world))
            return world._replace(store=store)
        return self._judge(world._replace(master=memory._replace(parked=message)))

    def _judge(self, world: World) -> World:
        """Judge the parked poll; it stays parked if there is nothing to say."""
        memory = world.master
        assert memory is not None and memory.parked is not None
        judged = self.verbs.poll(world.store, memory.parked, now_of(world))
        if isinstance(judged, str):
            raise Violated(f"quarantined: {judged}")
        store, work = judged
        world = world._replace(store=store)
        if not work.grants and not work.words:
            return world
        return send(world._replace(master=memory._replace(parked=None)), work)

    # -- supervisors and scripts

    def _process_steps(self, world: World) -> Iterator[Step]:
        for index, place in enumerate(world.places):
            for field in ("requests", "late_requests"):
                if getattr(place, field):
                    yield f"mark {index}", placed(world, index, _at_mark(world, index, field))
            if place.script and place.supervisor:
                yield f"end {index}", placed(world, index, _ended(place, Cause.EXIT))
                if place.killing is not None:
                    yield f"die {index}", placed(world, index, _ended(place, place.killing))
            elif place.script:
                ended = place._replace(script=False, ended=Cause.EXIT)
                yield f"end {index}, unseen", placed(world, index, ended)

    # -- the master

    def _master_steps(self, world: World) -> Iterator[Step]:
        if world.master is None:
            yield "start master", world._replace(master=Memory())
            return
        if world.master.parked is not None:
            woken = self._judge(world)
            if woken != world:
                yield "wake", woken
        if world.late:
            store = self.verbs.expire(world.store, now_of(world))
            if store != world.store:
                yield "expire", world._replace(store=store)
        if world.late == 1:
            yield "late for the agent", world._replace(late=2)
        if world.store.hold and world.store.granted >= world.disk.hw:
            yield "release", world._replace(store=world.store._replace(hold=False))

    # -- faults; the budget is paid already

    def _lose(self, world: World) -> Iterator[Step]:
        for message in world.net:
            yield ("LOSE", message), world._replace(net=world.net - {message})

    def _repeat(self, world: World) -> Iterator[Step]:
        for message in world.net:
            yield from self._delivery(("REPEAT", message), world, message)

    def _impatient(self, world: World) -> Iterator[Step]:
        agent = world.agent
        if agent is not None and agent.session is not None and not any(agent.todo):
            slots = self.setting.slots
            yield from poll_step("IMPATIENT poll", world, agent.session, slots)

    def _kill_agent(self, world: World) -> Iterator[Step]:
        if world.agent is not None:
            yield "KILL AGENT", without_agent(world)

    def _kill_master(self, world: World) -> Iterator[Step]:
        if world.master is not None:
            yield "KILL MASTER", world._replace(master=None)

    def _kill_supervisor(self, world: World) -> Iterator[Step]:
        for index, place in enumerate(world.places):
            if place.supervisor:
                dead = place._replace(supervisor=False, killing=None)
                yield f"KILL SUPERVISOR {index}", placed(world, index, dead)
            if place.requests:
                dead = place._replace(requests=place.requests - 1)
                yield f"KILL SUPERVISOR {index} early", placed(world, index, dead)

    def _reboot(self, world: World) -> Iterator[Step]:
        world = without_agent(world)
        disk = world.disk._replace(boot=world.disk.boot + 1)
        down = tuple(powered_off(place) for place in world.places)
        yield "REBOOT", world._replace(disk=disk, places=down)
        bare = tuple(place._replace(mark=None) for place in down)
        if bare != down:
            yield "REBOOT, marks lost", world._replace(disk=disk, places=bare)

    def _wipe(self, world: World) -> Iterator[Step]:
        world = without_agent(world)
        nothing = (None,) * len(world.places)
        boot, journal = world.disk.boot + 1, world.disk.journal + 1
        disk = Disk(entries=nothing, done=nothing, boot=boot, journal=journal)
        down = (powered_off(place) for place in world.places)
        places = tuple(place._replace(mark=None, exit=None) for place in down)
        yield "WIPE", world._replace(disk=disk, places=places)

    def _forget(self, world: World) -> Iterator[Step]:
        gone = [done.grant for done in world.disk.done if done is not None]
        if gone:
            disk = world.disk._replace(
                done=(None,) * len(world.places), floor=max(world.disk.floor, *gone)
            )
            yield "FORGET", world._replace(disk=disk)

    def _reconnect(self, world: World) -> Iterator[Step]:
        if world.agent is not None and world.agent.session is not None:
            agent = world.agent._replace(session=None)
            yield "RECONNECT", world._replace(agent=agent)

    def _cancel(self, world: World) -> Iterator[Step]:
        if world.master is not None and world.store.task not in ENDED_TASK:
            store = self.verbs.cancel(world.store, now_of(world))
            yield "CANCEL", world._replace(store=store)

    def _silence(self, world: World) -> Iterator[Step]:
        if world.master is not None:
            store = self.verbs.silence(world.store, now_of(world))
            if store != world.store:
                yield "SILENCE", world._replace(store=store)

    def _late(self, world: World) -> Iterator[Step]:
        if world.late == 0:
            yield "LATE", world._replace(late=1)

    def _restore(self, world: World) -> Iterator[Step]:
        """A backup is free, and only one is kept; bringing it back is the fault."""
        if world.backup is None:
            unpaid = world.budget._replace(restore=world.budget.restore + 1)
            yield "BACKUP", world._replace(backup=world.store, budget=unpaid)
        elif world.store != world.backup:
            store = world.backup._replace(restored=True)
            yield "RESTORE", world._replace(store=store, backup=None, master=None)


# ---- supervisors and scripts


def _at_mark(world: World, index: int, field: str) -> Place:
    """A supervisor tries for the mark; without a directory, or if there is a mark, it quits."""
    place = world.places[index]
    place = place._replace(**{field: getattr(place, field) - 1})
    if place.mark is not None or world.disk.entries[index] is None:
        return place
    return place._replace(
        mark=Mark.STARTED,
        supervisor=True,
        script=True,
        starts=place.starts + 1,
        broke_cancel=place.broke_cancel or field == "late_requests",
    )


def _ended(place: Place, how: Cause) -> Place:
    """The script ends, its supervisor writes the exit and lets go."""
    return place._replace(script=False, supervisor=False, killing=None, exit=how, ended=how)
