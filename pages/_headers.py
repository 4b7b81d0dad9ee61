"""What the server tells whom: every answer that nobody may draw it inside a page of theirs, its figures this machine,
and the first page by its own address where it lives.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages._navigation import page_files
from pages._signin import local_refusal

METRICS = "/_stcore/metrics"

# A click on Approve must be meant for Approve: a foreign page that frames this one could lay something else over it.
HEADERS = (
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class SafetyHeaders:
    """ASGI middleware that adds HEADERS to every HTTP response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its response gets the headers, in place of any of the same name."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in HEADERS}
                kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in ours]
                message = {**message, "headers": [*kept, *HEADERS]}
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)


class OwnMetrics:
    """ASGI middleware that answers METRICS to this machine alone, in whatever mode the pages are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, but one for the server's figures that comes from elsewhere or by another name."""
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith(METRICS):
            headers = {name.title(): value for name, value in Headers(scope=scope).items()}
            client = (scope.get("client") or (None,))[0]
            if local_refusal(listens="127.0.0.1", headers=headers, client=client):
                await PlainTextResponse("Figures are for this machine.", status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class FirstPage:
    """ASGI middleware that sends whoever asks for the first page by its name to the root, where Streamlit has it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, but one for the first page's name: its answer is the way to the root, query and all."""
        if scope["type"] == "http" and scope["path"].rstrip("/").rpartition("/")[2] == page_files()[0].address:
            query = scope.get("query_string", b"").decode("latin-1")
            root = "../" if scope["path"].endswith("/") else "./"
            await RedirectResponse(f"{root}?{query}" if query else root)(scope, receive, send)
            return
        await self.app(scope, receive, send)


MIDDLEWARE = [Middleware(SafetyHeaders), Middleware(OwnMetrics), Middleware(FirstPage)]
