"""JSON-RPC 2.0 without a network: bytes in, bytes out (https://www.jsonrpc.org/specification).

A request is looked at in three steps: is it JSON, is it a call (or a batch of calls), do the
parameters fit the method. Every failure has its code from the specification or from the table
in docs/rpc.md; a bug of ours is -32603 and says nothing of the inside.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from chain.errors import ColophonError, Rejected
from chain.json_form import Content, from_json, no_content, to_json
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

log = logging.getLogger("colophon.rpc")


class RpcError(ColophonError):
    """An error object of the protocol."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True)
class Call:
    """One well-formed call; ``id`` is echoed as it came, notifications have none."""

    method: str
    params: dict[str, Any] | list[Any]
    id: str | int | None
    notification: bool


class Dispatcher:
    """Answers requests by a table of methods."""

    def __init__(
        self, methods: Mapping[str, Method], *, batch_max: int, content: Content = no_content
    ) -> None:
        """``content`` finds the bytes behind blobs for answers."""
        self.methods = methods
        self._batch_max = batch_max
        self._content = content

    async def answer(self, raw: bytes) -> bytes | None:
        """Return the answer to a request body; None if nothing is to be answered."""
        try:
            request = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return msgspec.json.encode(_failure(None, RpcError(PARSE_ERROR, f"not JSON: {error}")))
        if not isinstance(request, list):
            answer = await self._answer_one(request)
            return None if answer is None else msgspec.json.encode(answer)
        if not request or len(request) > self._batch_max:
            problem = f"a batch has 1 to {self._batch_max} calls, this one {len(request)}"
            return msgspec.json.encode(_failure(None, RpcError(INVALID_REQUEST, problem)))
        answers = [await self._answer_one(item) for item in request]
        given = [item for item in answers if item is not None]
        return msgspec.json.encode(given) if given else None

    async def _answer_one(self, request: object) -> dict[str, Any] | None:
        try:
            call = parse_call(request)
        except RpcError as error:
            return _failure(_id_of(request), error)
        try:
            result = await self.call(call.method, call.params)
        except RpcError as error:
            return None if call.notification else _failure(call.id, error)
        return None if call.notification else {"jsonrpc": "2.0", "id": call.id, "result": result}

    async def call(self, name: str, params: dict[str, Any] | list[Any]) -> Any:
        """Call a method and return the JSON form of its result; raises ``RpcError``."""
        method = self.methods.get(name)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"no method {name!r}; rpc.discover lists them")
        try:
            values = bind(method, params)
        except Rejected as refusal:
            data = {"code": refusal.code, "details": plain(refusal.details)}
            raise RpcError(INVALID_PARAMS, refusal.message, data) from None
        try:
            result = method.function(**values)
            if inspect.isawaitable(result):
                result = await result
            return to_json(method.result, result, self._content)
        except Rejected as refusal:
            raise _refusal(refusal) from None
        except RpcError:
            raise
        except Exception:
            log.exception("rpc_method_failed method=%s", name)
            raise RpcError(INTERNAL_ERROR, "internal error; the node's log has the cause") from None


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
    names = list(method.params)
    if isinstance(params, list):
        if len(params) > len(names):
            raise Rejected(
                "rpc/TooManyParams", f"{len(params)} parameters, {method.name} takes {len(names)}"
            )
        params = dict(zip(names, params, strict=False))
    unknown = [name for name in params if name not in method.params]
    if unknown:
        known = ", ".join(names) or "none"
        raise Rejected(
            "rpc/UnknownParam", f"{method.name} does not know {unknown[0]!r}; it takes {known}"
        )
    values = {}
    for name, param in method.params.items():
        if name in params:
            value = from_json(param.kind, params[name], name)
            if param.check is not None:
                param.check(value, name)
            values[name] = value
        elif param.required:
            raise Rejected("rpc/MissingParam", f"{method.name} needs {name}", field=name)
    return values


def _refusal(refusal: Rejected) -> RpcError:
    details = plain(refusal.details)
    index = details.pop("message_index", None)
    data = {"code": refusal.code, "message_index": index, "details": details}
    kinds = ((NotFound, NOT_FOUND), (Unavailable, UNAVAILABLE), (Busy, BUSY), (TimedOut, TIMED_OUT))
    for kind, code in kinds:
        if isinstance(refusal, kind):
            return RpcError(code, refusal.message, data)
    return RpcError(REFUSED, refusal.message, data)


def plain(details: Mapping[str, object]) -> dict[str, Any]:
    """Return details as JSON values: bytes as hex, large integers as text."""
    return {name: _plain(value) for name, value in details.items()}


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _failure(identity: str | int | None, error: RpcError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": identity, "error": body}
