"""JSON-RPC 2.0 without a network: bytes in, bytes out (https://www.jsonrpc.org/specification).

A request is looked at in three steps: is it JSON, is it a call (or a batch of calls), do the
parameters fit the method. Every failure has its code from the specification or from the table
in docs/rpc.md; a bug of ours is -32603 and says nothing of the inside.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Any

import msgspec

from chain.application import Job
from chain.errors import ColophonError, Rejected
from chain.json_form import Content, from_json, no_content, plain_details
from state.queries import NotFound, Unavailable

from .backend import Busy, TimedOut
from .methods import Method

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REFUSED = -32000
NOT_FOUND = -32001
UNAVAILABLE = -32002
BUSY = -32003
TIMED_OUT = -32004

ERRORS = {
    PARSE_ERROR: ("not JSON", "The request is not JSON in UTF-8."),
    INVALID_REQUEST: ("not a call", "JSON, but no JSON-RPC 2.0 call or batch of calls."),
    METHOD_NOT_FOUND: ("no such method", "`rpc.discover` lists the methods of this node."),
    INVALID_PARAMS: (
        "wrong parameters",
        "A parameter is unknown, missing or malformed; `data.code` and the message say which.",
    ),
    INTERNAL_ERROR: ("internal error", "A bug of the node; its log has the cause."),
    REFUSED: (
        "refused",
        "A rule of the protocol says no; `data.code` is the rule's permanent name, "
        "`data.message_index` the message it is about, `data.details` the values that broke it.",
    ),
    NOT_FOUND: ("not found", "What was asked for is not on this chain."),
    UNAVAILABLE: (
        "not available here",
        "Not there yet, or no longer; `data.details` has `first` and `last`, the range that is.",
    ),
    BUSY: (
        "busy",
        "Too much to do; come again after `data.details.retry_after_ms`. Nothing has changed.",
    ),
    TIMED_OUT: ("timed out", "What was waited for has not happened yet; it still may."),
}
"""Every error code with its name and when it is given (docs/rpc.md has this table)."""

log = logging.getLogger("colophon.rpc")


class RpcError(ColophonError):
    """An error object of the protocol."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def form(self) -> dict[str, Any]:
        """Return the error object."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


@dataclass(frozen=True, slots=True)
class Call:
    """One well-formed call; ``id`` is echoed as it came, notifications have none."""

    method: str
    params: dict[str, Any] | list[Any]
    id: str | int | None
    notification: bool


GiveWay = Callable[[], Awaitable[None]]


async def _let_others_run() -> None:
    await asyncio.sleep(0)


class Dispatcher:
    """Answers requests by a table of methods."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        batch_max: int,
        content: Content = no_content,
        outcomes: Counter[tuple[str, str]] | None = None,
        give_way: GiveWay = _let_others_run,
    ) -> None:
        """``content`` finds the bytes behind blobs; ``outcomes`` counts (method, outcome).

        ``give_way`` is awaited between two steps of an answer.
        """
        self.methods = methods
        self.batch_max = batch_max
        self.outcomes: Counter[tuple[str, str]] = Counter() if outcomes is None else outcomes
        self._content = content
        self._give_way = give_way

    def with_methods(self, methods: Mapping[str, Method]) -> Dispatcher:
        """Return a dispatcher that knows or replaces ``methods`` besides, and counts together."""
        return Dispatcher(
            {**self.methods, **methods},
            batch_max=self.batch_max,
            content=self._content,
            outcomes=self.outcomes,
            give_way=self._give_way,
        )

    async def answer(self, raw: bytes) -> bytes | None:
        """Return the answer to a request body; None if nothing is to be answered."""
        try:
            request = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return failure(None, RpcError(PARSE_ERROR, f"not JSON: {error}"))
        if not isinstance(request, list):
            return await self._answer_one(request)
        if not request or len(request) > self.batch_max:
            problem = f"a batch has 1 to {self.batch_max} calls, this one {len(request)}"
            return failure(None, RpcError(INVALID_REQUEST, problem))
        answers = []
        for item in request:
            answer = await self._answer_one(item)
            if answer is not None:
                answers.append(answer)
            await asyncio.sleep(0)  # consensus is served between two calls of a batch
        return b"[" + b",".join(answers) + b"]" if answers else None

    async def _answer_one(self, request: object) -> bytes | None:
        try:
            call = parse_call(request)
        except RpcError as error:
            return failure(_id_of(request), error)
        try:
            result = await self.call(call.method, call.params)
        except RpcError as error:
            return None if call.notification else failure(call.id, error)
        if call.notification:
            return None
        return msgspec.json.encode({"jsonrpc": "2.0", "id": call.id, "result": result})

    async def call(self, name: str, params: dict[str, Any] | list[Any]) -> Any:
        """Call a method and return the JSON form of its result; raises ``RpcError``."""
        method = self.methods.get(name)
        if method is None:
            self.outcomes["unknown", str(METHOD_NOT_FOUND)] += 1
            problem = f"no method {short_repr(name)}; rpc.discover lists them"
            raise RpcError(METHOD_NOT_FOUND, problem)
        try:
            result = await self._run(method, params)
        except RpcError as error:
            self.outcomes[name, str(error.code)] += 1
            raise
        self.outcomes[name, "ok"] += 1
        return result

    async def _run(self, method: Method, params: dict[str, Any] | list[Any]) -> Any:
        try:
            values = bind(method, params)
        except Rejected as refusal:
            data = {"code": refusal.code, "details": plain_details(refusal.details)}
            raise RpcError(INVALID_PARAMS, refusal.message, data) from None
        try:
            result = method.function(**values)
            if method.waits:
                result = await result
            elif method.steps:
                result = await self._finish(result)
            return method.write(result, self._content)
        except Rejected as refusal:
            raise refused(refusal, method.reads) from None
        except RpcError:
            raise
        except Exception:
            log.exception("rpc_method_failed method=%s", method.name)
            raise RpcError(INTERNAL_ERROR, "internal error; the node's log has the cause") from None

    async def _finish(self, job: Job[Any]) -> Any:
        with closing(job):
            while True:
                try:
                    next(job)
                except StopIteration as stop:
                    return stop.value
                await self._give_way()


def parse_call(request: object) -> Call:
    """Return the call in a decoded request; raises ``RpcError`` -32600."""
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'a call is an object with "jsonrpc": "2.0"')
    method, params = request.get("method"), request.get("params", {})
    identity = request.get("id")
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "method must be text")
    if not isinstance(params, dict | list):
        raise RpcError(INVALID_REQUEST, "params must be an object or a list")
    if isinstance(identity, bool | float) or not isinstance(identity, str | int | None):
        raise RpcError(INVALID_REQUEST, "id must be text, an integer or null")
    return Call(method, params, identity, "id" not in request)


def _id_of(request: object) -> str | int | None:
    """Return the id to answer a malformed call with, if it has a usable one."""
    if isinstance(request, dict):
        identity = request.get("id")
        if isinstance(identity, str | int) and not isinstance(identity, bool):
            return identity
    return None


def bind(method: Method, params: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """Return the typed arguments of a call; unknown and missing names are refused."""
    if isinstance(params, list):
        if len(params) > len(method.params):
            raise Rejected(
                "rpc/TooManyParams",
                f"{len(params)} parameters, {method.name} takes {len(method.params)}",
            )
        params = dict(zip(method.params, params, strict=False))
    for name in params:
        if name not in method.params:
            known = ", ".join(method.params) or "none"
            problem = f"{method.name} does not know {short_repr(name)}; it takes {known}"
            raise Rejected("rpc/UnknownParam", problem)
    values = {}
    for name, param in method.params.items():
        if name in params:
            value = from_json(param.kind, params[name], name)
            param.check(value, name)
            values[param.argument] = value
        elif param.required:
            raise Rejected("rpc/MissingParam", f"{method.name} needs {name}", field=name)
    return values


def refused(refusal: Rejected, reads: bool) -> RpcError:
    """Return the error object of a refusal; ``reads``: by a method that only looks."""
    details = plain_details(refusal.details)
    index = details.pop("message_index", None)
    data = {"code": refusal.code, "message_index": index, "details": details}
    kinds = ((NotFound, NOT_FOUND), (Unavailable, UNAVAILABLE), (Busy, BUSY), (TimedOut, TIMED_OUT))
    for kind, code in kinds:
        if isinstance(refusal, kind):
            return RpcError(code, refusal.message, data)
    absent = reads and _ABSENT.search(refusal.code)
    return RpcError(NOT_FOUND if absent else REFUSED, refusal.message, data)


_ABSENT = re.compile(r"/(Unknown\w*|\w*NotExists|\w*NotFound|\w*NotRegistered)$")
"""Reasons by which rules say that an object is not there; for a reader that is -32001."""


def failure(identity: str | int | None, error: RpcError) -> bytes:
    """Return the encoded answer that carries an error."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": identity, "error": error.form()})
