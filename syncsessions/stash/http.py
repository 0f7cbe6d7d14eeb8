"""`{mount}/stash/`: the socket's frames over HTTP, for pages without a socket."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.middleware.csrf import get_token
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from syncsessions import frames
from syncsessions.exceptions import FrameError
from syncsessions.frames import FRAME_LIMIT, Frame
from syncsessions.stash.browser import Browser

STATUS = {
    "too_large": 413,
    "not_allowed": 403,
    "conflict": 409,
    "store_unavailable": 503,
}
"""HTTP status by error code; every other error is 400."""


def _autocommit(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """No ATOMIC_REQUESTS for this view, on whichever database the stash is."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@never_cache
@require_http_methods(["GET", "POST"])
@_autocommit
@csrf_protect
def stash(request: HttpRequest) -> HttpResponse:
    """POST one frame, be answered the frame that the socket would send (subscribe: `{"frames": […]}`).

    GET `?view=&vsn=&tab=&fresh=` subscribes to one view; GET `?token` gives a page without a form its CSRF token.
    """
    if request.method == "GET":
        return _get(request)
    frame: Frame | None = None
    try:
        frame = frames.parse(_body(request), FRAME_LIMIT)
    except FrameError as error:
        return _respond([frames.error_frame(error)])
    return _respond(Browser.of_request(request).answer(frame), listed=frame["type"] == "stash.subscribe")


def _get(request: HttpRequest) -> HttpResponse:
    if "token" in request.GET:
        return JsonResponse({"token": get_token(request)})
    entry: Frame = {name: request.GET[name] for name in ("view", "tab") if name in request.GET}
    if "vsn" in request.GET:
        vsn = request.GET["vsn"]
        entry["vsn"] = int(vsn) if vsn.isascii() and vsn.isdigit() and len(vsn) < 11 else -1
    entry["fresh"] = request.GET.get("fresh") in ("1", "true")
    frame: Frame = {"type": "stash.subscribe", "views": [entry]}
    return _respond(Browser.of_request(request).answer(frame), listed=True)


def _body(request: HttpRequest) -> str:
    """The body as text, read no further than a frame may be."""
    try:
        length = int(request.headers.get("Content-Length") or 0)
    except ValueError:
        length = 0
    if length > FRAME_LIMIT:
        raise FrameError("too_large", limit=FRAME_LIMIT)
    try:
        raw = request.read(FRAME_LIMIT + 1)
    except UnreadablePostError:  # the client went away
        raise FrameError("bad_frame") from None
    if len(raw) > FRAME_LIMIT:
        raise FrameError("too_large", limit=FRAME_LIMIT)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FrameError("bad_frame") from None


def _respond(answers: list[Frame], *, listed: bool = False) -> HttpResponse:
    first = answers[0]
    if first["type"] == "error" and len(answers) == 1:
        return JsonResponse(first, status=STATUS.get(first["code"], 400))
    return JsonResponse({"frames": answers} if listed else first)
