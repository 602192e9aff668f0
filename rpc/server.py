"""The HTTP server: JSON-RPC, its GET form, WebSocket, /health, /metrics and the page.

::

    server = RpcServer(backend, Limits())
    host, port = await server.start("127.0.0.1", 0)
    …
    await server.stop()
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import WSCloseCode, web

from .backend import Backend
from .jsonrpc import (
    BUSY,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    TIMED_OUT,
    UNAVAILABLE,
    Dispatcher,
    RpcError,
    failure,
)
from .limits import Limits, RateLimit
from .methods import arguments_from_text
from .metrics import CONTENT_TYPE, Metrics
from .subscriptions import Hub
from .table import make_table
from .websocket import HEARTBEAT_S, Connection, Socket

PAGE = Path(__file__).with_name("page.html")
JSON = {"Content-Type": "application/json"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""The page is one file and loads nothing from anywhere; a browser holds it to that."""
BACKLOG = 1_024
"""Connections that the system holds until we take them."""
STOP_S = 2.0
"""Calls in work get so long to end when the node stops."""
REFUSAL_S = 5.0
"""How long a refused connection may take to say what it wanted."""

GET_STATUS = {
    METHOD_NOT_FOUND: 404,
    NOT_FOUND: 404,
    UNAVAILABLE: 404,
    BUSY: 503,
    TIMED_OUT: 504,
    INTERNAL_ERROR: 500,
}
"""HTTP status of an error in the GET form; 400 for all others. POST answers 200."""


class RpcServer:
    """One server over one node."""

    def __init__(
        self, backend: Backend, limits: Limits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.methods = make_table(backend)
        self.dispatcher = Dispatcher(
            self.methods,
            batch_max=limits.batch_max,
            content=backend.reader.blob,
            give_way=backend.give_way,
        )
        self._backend = backend
        self._limits = limits
        self._hub = Hub(backend)
        self._rate = RateLimit(limits.requests_per_second, clock)
        self._metrics = Metrics(backend.counters, self.dispatcher.outcomes)
        self._sockets: set[Socket] = set()
        self._page = PAGE.read_bytes()
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=STOP_S, handle_signals=False
        )
        self._listener: asyncio.Server | None = None

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=self._limits.body_bytes_max)
        app.router.add_post("/", self._post)
        app.router.add_get("/", self._root)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/{method}", self._get)
        app.router.add_options("/{path:.*}", self._preflight)
        app.on_shutdown.append(self._close_sockets)
        return app

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address in use (port 0 lets the system choose). OSError if taken."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, host, port, backlog=BACKLOG)
        bound = self._listener.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Take no more connections, close the open ones; stopping twice is harmless."""
        self._hub.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        """Return what talks to a new connection: the server, or the refusal of one too many."""
        server = self._runner.server
        assert server is not None, "started"
        if len(server.connections) >= self._limits.connections_max:
            return _TooMany(self._limits.connections_max)
        return server()

    # --- JSON-RPC -----------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.Response:
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            limit = self._limits.body_bytes_max
            problem = RpcError(INVALID_REQUEST, f"the body has more than {limit} bytes")
            return self._answer(request, failure(None, problem), 413)
        answer = await self.dispatcher.answer(raw)
        if answer is None:
            return self._answer(request, b"", 204)
        return self._answer(request, answer, 200)

    async def _get(self, request: web.Request) -> web.Response:
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        name = request.match_info["method"]
        try:
            method = self.methods.get(name)
            if method is not None and not method.reads:
                raise RpcError(METHOD_NOT_FOUND, f"{name} changes something: use POST")
            query = {key: request.query.getall(key) for key in request.query}
            params = arguments_from_text(method, query) if method is not None else {}
            result = await self.dispatcher.call(name, params)
        except RpcError as error:
            return self._answer(request, failure(None, error), GET_STATUS.get(error.code, 400))
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "result": result})
        return self._answer(request, body, 200)

    def _answer(self, request: web.Request, body: bytes, status: int) -> web.Response:
        response = web.Response(body=body, status=status, headers=JSON)
        origin = request.headers.get("Origin")
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        return response

    def _refuse(self, request: web.Request) -> web.Response | None:
        """Return the answer to a page of a foreign origin (403) or to one too many (429)."""
        if not self._limits.allows_origin(request.headers.get("Origin"), request.host):
            problem = "pages of this origin may not call the node: see allowed_origins"
            error = failure(None, RpcError(INVALID_REQUEST, problem))
            return web.Response(body=error, status=403, headers=JSON)
        wait_s = self._rate.take(request.remote or "")
        if wait_s == 0:
            return None
        data = {
            "code": "rpc/TooManyRequests",
            "message_index": None,
            "details": {"retry_after_ms": math.ceil(wait_s * 1_000)},
        }
        error = failure(None, RpcError(BUSY, "too many requests from this address", data))
        response = self._answer(request, error, 429)
        response.headers["Retry-After"] = str(math.ceil(wait_s))
        return response

    async def _preflight(self, request: web.Request) -> web.Response:
        """Answer a browser that asks before it calls (CORS)."""
        origin = request.headers.get("Origin")
        if origin is None or not self._limits.allows_origin(origin, request.host):
            return web.Response(status=403)
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Max-Age": "600",
            "Vary": "Origin",
        }
        return web.Response(status=204, headers=headers)

    # --- WebSocket ----------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        socket: Socket = web.WebSocketResponse(
            compress=False,
            heartbeat=HEARTBEAT_S,
            max_msg_size=self._limits.body_bytes_max,
            decode_text=False,
        )
        if not socket.can_prepare(request):
            problem = RpcError(INVALID_REQUEST, "/ws speaks WebSocket only")
            return self._answer(request, failure(None, problem), 426)
        await socket.prepare(request)
        transport = request.transport
        connection = Connection(
            socket,
            self.dispatcher,
            self._hub,
            subscriptions_max=self._limits.subscriptions_max,
            queue_max=self._limits.queue_max,
            pace=lambda: self._pace(request.remote or ""),
            abort=transport.abort if transport is not None else lambda: None,
        )
        self._sockets.add(socket)
        try:
            await connection.run()
        finally:
            self._sockets.discard(socket)
        return socket

    async def _pace(self, address: str) -> None:
        """Hold a connection back until its address may ask again."""
        while (wait_s := self._rate.take(address)) > 0:
            await asyncio.sleep(wait_s)

    async def _close_sockets(self, _: web.Application) -> None:
        closing = [
            socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops")
            for socket in self._sockets
        ]
        await asyncio.gather(*closing)

    # --- everything else ----------------------------------------------------------------------

    async def _root(self, request: web.Request) -> web.Response:
        """The page for browsers, a signpost for everybody else."""
        if "text/html" in request.headers.get("Accept", ""):
            headers = {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Security-Policy": PAGE_POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
            }
            return web.Response(body=self._page, headers=headers)
        text = (
            "A Colophon node. POST / speaks JSON-RPC 2.0; GET /chain.status and other reading "
            "methods; WebSocket at /ws; /health; /metrics; GET /rpc.discover lists everything.\n"
        )
        return web.Response(text=text)

    async def _health(self, request: web.Request) -> web.Response:
        status = self._backend.status()
        if status.healthy:
            return web.Response(text=f"healthy at height {status.height}\n")
        return web.Response(text=status.reason + "\n", status=503)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


class _TooMany(asyncio.Protocol):
    """Answers 503 to whatever comes and closes: the server holds all the connections it may."""

    def __init__(self, limit: int) -> None:
        error = RpcError(BUSY, f"{limit} connections are open, come again later")
        body = failure(None, error)
        self._response = (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request: an answer before it would be lost in a reset."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(REFUSAL_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer the first bytes, whatever they are."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._response)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        if self._patience is not None:
            self._patience.cancel()
