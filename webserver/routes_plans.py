"""Which rows of the table of routes are about plans?"""

from webserver import api_plans, api_tasks, page_plan_form, page_plans
from webserver.endpoint import Answer, Header, Listing, May, Route, api
from webserver.parameters import NoQuery, PageQuery
from wire.errors import Conflict, StoreFull
from wire.plans import PlanLine, PlanSpec, PlanView

VIEWER, OPERATOR = May.VIEWER, May.OPERATOR

_PLAN = "/api/v1/plans/{plan}"
_KEY = {
    "Idempotency-Key": Header(
        "1 to 200 printable ASCII characters of your choice: the same key with the same request "
        "makes one plan, however often it is sent.",
        api_tasks.KEY,
    )
}

API = (
    api(
        "GET", "/api/v1/plans", api_plans.list_plans, VIEWER, PageQuery,
        "List plans", Answer(Listing[PlanLine]),
    ),
    api(
        "POST", "/api/v1/plans", api_plans.add_plan, OPERATOR, NoQuery,
        "Submit a plan",
        Answer(api_plans.PlanMade, 201, headers={"Location": "Path of the new plan."}),
        body=PlanSpec, headers=_KEY, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _PLAN, api_plans.get_plan, VIEWER, NoQuery,
        "One plan", Answer(PlanView),
    ),
    api(
        "GET", _PLAN + "/spec", api_plans.get_spec, VIEWER, NoQuery,
        "What a plan was submitted as", Answer(PlanSpec),
    ),
    api(
        "POST", _PLAN + "/cancel", api_plans.cancel_plan, OPERATOR, NoQuery,
        "Cancel a plan", Answer(PlanView), refuses=(StoreFull,),
    ),
    api(
        "POST", _PLAN + "/resume", api_plans.resume_plan, OPERATOR, NoQuery,
        "Resume a plan", Answer(PlanView),
        body=api_plans.Resume, refuses=(Conflict, StoreFull),
    ),
)  # fmt: skip

PAGES = (
    Route("GET", "/plans", page_plans.show_plans, VIEWER),
    Route("GET", "/plans/new", page_plan_form.show_form, OPERATOR),
    Route("POST", "/plans/new", page_plan_form.submit_form, OPERATOR),
    Route("GET", "/plans/{plan}", page_plans.show_plan, VIEWER),
    Route("POST", "/plans/{plan}/cancel", page_plans.cancel_plan, OPERATOR),
    Route("POST", "/plans/{plan}/resume", page_plans.resume_plan, OPERATOR),
)
