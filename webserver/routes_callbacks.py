"""Which rows of the table of routes are about callbacks?"""

from webserver import api_callbacks, page_callbacks
from webserver.endpoint import Answer, Listing, May, Route, api
from webserver.parameters import NoQuery
from wire.callbacks import (
    CallbackChanges,
    Callbacks,
    CallbackView,
    CallbackWish,
    DeliveryView,
    KeptCallback,
)
from wire.errors import Conflict, SecretsUnreadable, StoreFull

OPERATOR, ADMIN = May.OPERATOR, May.ADMIN

_ALL = "/api/v1/callbacks"
_ONE = _ALL + "/{callback}"
_DELIVERY = "/api/v1/deliveries/{delivery}"

API = (
    api(
        "GET", _ALL, api_callbacks.list_callbacks, OPERATOR, NoQuery,
        "List callbacks", Answer(Callbacks),
    ),
    api(
        "POST", _ALL, api_callbacks.add_callback, ADMIN, NoQuery,
        "Add a callback", Answer(KeptCallback, 201, headers={"Location": "Path of the callback."}),
        body=CallbackWish, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _ONE, api_callbacks.get_callback, OPERATOR, NoQuery,
        "One callback", Answer(CallbackView),
    ),
    api(
        "PATCH", _ONE, api_callbacks.change_callback, ADMIN, NoQuery,
        "Change a callback", Answer(KeptCallback),
        body=CallbackChanges, refuses=(Conflict, SecretsUnreadable, StoreFull),
    ),
    api(
        "DELETE", _ONE, api_callbacks.remove_callback, ADMIN, NoQuery,
        "Remove a callback", Answer(CallbackView), refuses=(StoreFull,),
    ),
    api(
        "POST", _ONE + "/test", api_callbacks.test_callback, ADMIN, NoQuery,
        "Send a test", Answer(DeliveryView, 201), refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _ONE + "/deliveries", api_callbacks.list_deliveries, ADMIN,
        api_callbacks.DeliveriesQuery,
        "List what a callback was told", Answer(Listing[DeliveryView]),
    ),
    api(
        "GET", _DELIVERY, api_callbacks.get_delivery, ADMIN, NoQuery,
        "One delivery, with its tries", Answer(DeliveryView),
    ),
    api(
        "POST", _DELIVERY + "/resend", api_callbacks.resend_delivery, ADMIN, NoQuery,
        "Send again", Answer(DeliveryView), refuses=(Conflict, StoreFull),
    ),
)  # fmt: skip

_PAGE = "/callbacks/{callback}"

PAGES = (
    Route("GET", "/callbacks", page_callbacks.show_callbacks, ADMIN),
    Route("POST", "/callbacks", page_callbacks.add_callback, ADMIN),
    Route("GET", _PAGE, page_callbacks.show_callback, ADMIN),
    Route("POST", _PAGE, page_callbacks.change_callback, ADMIN),
    Route("POST", _PAGE + "/switch", page_callbacks.switch_callback, ADMIN),
    Route("POST", _PAGE + "/remove", page_callbacks.remove_callback, ADMIN),
    Route("POST", _PAGE + "/test", page_callbacks.test_callback, ADMIN),
    Route("GET", "/deliveries/{delivery}", page_callbacks.show_delivery, ADMIN),
    Route("POST", "/deliveries/{delivery}/resend", page_callbacks.resend_delivery, ADMIN),
)
