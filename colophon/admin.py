"""The admin socket: commands on the database, done by the node that holds it (docs/operating.md).

A request is one line of JSON on a Unix socket in the node's home, the answer likewise. The
socket's mode lets only its owner in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chain.errors import ColophonError, Rejected

from .application import NodeApplication
from .maintenance import COMMANDS

LINE_BYTES_MAX = 65_536
SOCKET_NAME_BYTES_MAX = 100
"""Longest name of a Unix socket that every system takes."""


class AdminServer:
    """Answers maintenance commands of a running node."""

    def __init__(self, path: Path, application: NodeApplication) -> None:
        self._path = path
        self._application = application
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a left-over socket of a dead node is removed (the home's lock is held)."""
        self._path.unlink(missing_ok=True)
        with _short(self._path) as path:
            self._server = await asyncio.start_unix_server(self._answer, path, limit=LINE_BYTES_MAX)
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name, arguments = _parse(await _read_line(reader))
            command = COMMANDS[name]
            result = await self._application.maintain(lambda machine: command(machine, arguments))
            answer: dict[str, Any] = {"result": result}
        except ColophonError as error:
            code = error.code if isinstance(error, Rejected) else "failed"
            message = error.message if isinstance(error, Rejected) else str(error)
            answer = {"error": {"code": code, "message": message}}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
            writer.close()


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:  # that is what asyncio makes of a line beyond the limit
        raise Rejected("admin/Malformed", f"a line of over {LINE_BYTES_MAX} bytes") from None


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of a command; raises ``Rejected`` with ``admin/…``."""
    try:
        request = json.loads(line)
    except ValueError:
        request = None
    match request:
        case {"command": str(name), "arguments": dict(arguments)} if name in COMMANDS:
            return name, arguments
        case {"command": str(name), "arguments": dict()}:
            raise Rejected("admin/UnknownCommand", f"no command {name!r}")
    raise Rejected("admin/Malformed", 'expected a line like {"command": NAME, "arguments": {}}')


def ask(path: Path, command: str, arguments: dict[str, Any]) -> Any:
    """Send a command to the running node of a home and return its result."""
    with socket.socket(socket.AF_UNIX) as connection:
        with _short(path) as name:
            connection.connect(name)
        line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        connection.sendall(line)
        raw = b""
        while part := connection.recv(65_536):
            raw += part
    answer = json.loads(raw)
    if "error" in answer:
        raise Rejected(answer["error"]["code"], answer["error"]["message"])
    return answer["result"]


def listener_pid(path: Path) -> int | None:
    """Return the process that listens on an admin socket, as the kernel says; None if nobody."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _short(path) as name:
                connection.connect(name)
        except OSError:
            return None
        form = struct.Struct("3i")  # pid, user, group
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
        return int(form.unpack(raw)[0])


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of the socket that the system takes, however deep its directory lies."""
    if len(os.fsencode(path)) <= SOCKET_NAME_BYTES_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
