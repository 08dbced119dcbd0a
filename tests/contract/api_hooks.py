"""What schemathesis must know that no document can say: ids that are there, in the environment.

Random ids only ever find nothing, so two requests of three get those of a task that has run.
"""

import json
import os

import schemathesis
from hypothesis import strategies as st

KNOWN = {name: os.environ.get(f"KNOWN_{name.upper()}", "") for name in ("task", "run", "agent")}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """It takes a tuple at the top of an answer for a broken schema; say the same in other words."""
    for schema in raw_schema["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            for one in field.get("anyOf", [field]):
                if "prefixItems" in one:
                    one["items"] = one.pop("prefixItems")[0]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if path_parameters and len(str(path_parameters)) % 3:
        return {name: KNOWN.get(name, value) for name, value in path_parameters.items()}
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    for name in ("left", "right"):
        if query and isinstance(query.get(name), str):
            query[name] = KNOWN["run"]
    return query


_NAMES = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)
schemathesis.openapi.media_type(
    "text/csv", st.builds("agent,{0}\n{1},{2}\n".format, _NAMES, _NAMES, _NAMES).map(str.encode)
)
schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(_NAMES, max_size=3).map(lambda names: json.dumps(names).encode()),
)
