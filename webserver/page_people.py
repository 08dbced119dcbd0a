"""Who may come in? The pages where admins add people, and change what each may do."""

from typing import Any

import msgspec
from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, ROLES, Caller
from webserver.forms import Form, filters, link, own_form, see
from webserver.page_frame import framed
from webserver.text import human_count
from wire.errors import Malformed, Refusal, Unauthenticated, Unavailable
from wire.people import AddPerson, ChangePerson, ListPeople, LogOutEverywhere, PersonView
from wire.requests import ById, GetTargets
from wire.views import Page, TargetsView

ON_A_PAGE = 100
LONGEST_NODESET = 200


async def show_people(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _people_page(request, caller, cursor=filters(request, "cursor").get("cursor"))


async def add_person(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Or, by the button beside the limit, say which hosts it means."""
    form = await own_form(request)
    if form.word("do") == "preview":
        return await _people_page(request, caller, form)
    ask = AddPerson(
        caller.auth,
        form.word("name"),
        form.text("role"),
        form.text("password"),
        form.word("hosts") or None,
    )
    try:
        await request.app[MASTER].call("add_person", ask, PersonView)
    except Unauthenticated:
        raise
    except Refusal as refusal:
        return await _people_page(request, caller, form, refusal)
    return see("/people")


async def show_person(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _person_page(request, caller)


async def change_person(request: web.Request, caller: Caller) -> web.StreamResponse:
    """`do` says which of the page's buttons was pressed."""
    form, id = await own_form(request), identifier(request, "person")
    do = form.word("do")
    if do == "preview":
        return await _person_page(request, caller, form)
    try:
        await _do(request, caller, id, do, form)
    except Unauthenticated:
        raise
    except Refusal as refusal:
        return await _person_page(request, caller, form, refusal)
    return see("/people" if do == "remove" else f"/people/{id}")


async def _do(request: web.Request, caller: Caller, id: str, do: str, form: Form) -> None:
    master, auth = request.app[MASTER], caller.auth
    if do == "remove":
        await master.call("remove_person", ById(auth, id), dict[str, Any])
    elif do == "log out":
        await master.call("log_out_everywhere", LogOutEverywhere(auth, id), dict[str, Any])
    else:
        await master.call("change_person", _change(caller, id, do, form), PersonView)


def _change(caller: Caller, id: str, do: str, form: Form) -> ChangePerson:
    match do:
        case "change":
            role, hosts = form.text("role"), form.word("hosts")
            return ChangePerson(caller.auth, id, role=role, hosts=hosts)
        case "disable" | "enable":
            return ChangePerson(caller.auth, id, disabled=do == "disable")
        case "password":
            return ChangePerson(caller.auth, id, password=form.text("password"))
    raise Malformed("do takes change, disable, enable, password, log out or remove", field="do")


async def _people_page(
    request: web.Request,
    caller: Caller,
    form: Form | None = None,
    refusal: Refusal | None = None,
    cursor: str | None = None,
) -> web.Response:
    ask = ListPeople(caller.auth, ON_A_PAGE, cursor)
    page = await request.app[MASTER].call("get_people", ask, Page)
    typed = form or Form({"role": ["operator"]})
    return await framed(
        request,
        caller,
        "people.html",
        status=refusal.status if refusal else 200,
        people=msgspec.convert(page.items, list[PersonView]),
        more=page.next and link("/people", {"cursor": page.next}),
        roles=ROLES,
        typed=typed,
        opened=form is not None,
        wrong=_blamed(refusal),
        meaning=await meaning_of(request, caller, typed.word("hosts")),
    )


async def _person_page(
    request: web.Request,
    caller: Caller,
    form: Form | None = None,
    refusal: Refusal | None = None,
) -> web.Response:
    ask = ById(caller.auth, identifier(request, "person"))
    person = await request.app[MASTER].call("get_person", ask, PersonView)
    before = Form({"role": [person.role], "hosts": [person.hosts or ""]})
    typed = form if form is not None and "hosts" in form.fields else before
    return await framed(
        request,
        caller,
        "person.html",
        status=refusal.status if refusal else 200,
        person=person,
        roles=ROLES,
        typed=typed,
        wrong=_blamed(refusal),
        meaning=await meaning_of(request, caller, typed.word("hosts")),
    )


def _blamed(refusal: Refusal | None) -> dict[str, str]:
    """The sentence by the field that it belongs to; "" for the form as a whole."""
    if refusal is None:
        return {}
    known = refusal.field in ("name", "role", "password", "hosts")
    return {(refusal.field or "") if known else "": refusal.message}


async def meaning_of(request: web.Request, caller: Caller, hosts: str) -> str:
    """Which hosts a limit means now, as a sentence; "" for none."""
    if not hosts:
        return ""
    try:
        ask = GetTargets(caller.auth, hosts)
        found = await request.app[MASTER].call("get_targets", ask, TargetsView)
    except Unavailable:
        return ""
    except Refusal as refusal:
        return refusal.message
    if not found.count:
        return "No host now."
    named = found.nodeset
    shown = named if len(named) <= LONGEST_NODESET else named[:LONGEST_NODESET] + "…"
    return f"Now {human_count(found.count, 'host')}: {shown}"
