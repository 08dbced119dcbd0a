"""What of the JSON of a plan must not be seen in a page? The values of secrets, also of those
that are parameters of saved scripts: what was typed just now is never put back either.
"""

import asyncio
import json
from typing import Any

from webserver.blanked import blanked
from webserver.context import Caller, Master
from webserver.plan_draft import PlanDraft
from wire.errors import Refusal, Unauthenticated
from wire.scripts import GetScript, ScriptView

MOST_SCRIPTS = 20  # that are asked about; of more of them no parameter is taken for open


async def hide_secrets(master: Master, caller: Caller, draft: PlanDraft) -> None:
    """Before a draft of what somebody has typed is shown."""
    if draft.text is None:
        return
    found = blanked(draft.text, await _open_parameters(master, caller, draft.text))
    draft.text = found.text
    draft.asks_secrets, draft.took_out_secrets = found.names_secrets, found.took_out


async def _open_parameters(master: Master, caller: Caller, text: str) -> set[str]:
    """Names of parameters that are no secret in any of the scripts that the plan refers to. None,
    where it cannot be read or the master does not say."""
    scripts = _scripts_of(text)
    if not scripts or len(scripts) > MOST_SCRIPTS:
        return set()
    asked = [
        master.call("get_script", GetScript(caller.auth, name), ScriptView) for name in scripts
    ]
    try:
        views = await asyncio.gather(*asked)
    except Unauthenticated:
        raise
    except Refusal:
        return set()
    declared = [
        one for view in views for version in view.versions or () for one in version.parameters
    ]
    secret = {one.name for one in declared if one.kind == "secret"}
    return {one.name for one in declared} - secret


def _scripts_of(text: str) -> set[str]:
    """Names of the saved scripts in a text that is JSON, whatever else is wrong with it."""
    found: set[str] = set()

    def look(tree: dict[str, Any]) -> dict[str, Any]:
        saved = tree.get("saved")
        if isinstance(saved, dict) and isinstance(saved.get("script"), str):
            found.add(saved["script"])
        return tree

    try:
        json.loads(text, strict=False, object_hook=look)
    except (ValueError, RecursionError):
        return set()
    return found
