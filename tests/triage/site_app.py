"""The application of the test site: FastAPI under uvicorn, with faults that a file switches on.

    python -m tests.triage.site_app PORT FAULT_FILE

The fault file holds one JSON object, read at every request, so that switching leaves no line in any
log: {"kind": "status", "value": 503}. See `FAULTS`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio import BaseTransport, Transport
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

FAULTS = {
    "none": "answers 200",
    "status": "answers with the status `value`",
    "slow": "answers after `value` seconds",
    "error": "raises an exception: uvicorn answers 500 and prints a traceback",
    "close": "closes the connection without an answer",
    "reset": "the same with a TCP reset",
    "cut": "closes the connection in the middle of the body",
    "crash": "ends the process with a segmentation fault's signal, in the middle of the request",
    "exporter": "answers 200 and logs what a trace exporter without its collector logs",
}

log = logging.getLogger("site")
fault_file = Path(os.devnull)
transports: dict[tuple[str, int], Transport] = {}
"""By the peer's address: ASGI has no way to reach the connection itself."""


class Protocol(H11Protocol):
    """uvicorn's, which remembers its connections."""

    def connection_made(self, transport: BaseTransport) -> None:
        transports[transport.get_extra_info("peername")[:2]] = cast(Transport, transport)
        super().connection_made(cast(Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        transports.pop(self.transport.get_extra_info("peername")[:2], None)
        super().connection_lost(exc)


def fault() -> dict[str, Any]:
    try:
        return dict(json.loads(fault_file.read_text()))
    except (OSError, ValueError):
        return {"kind": "none"}


app = FastAPI()


@app.get("/{path:path}")
async def answer(path: str) -> Response:
    now = fault()
    kind, value = now["kind"], now.get("value") or 0
    if kind == "status":
        return PlainTextResponse("as asked for", status_code=int(value))
    if kind == "slow":
        await asyncio.sleep(float(value))
    elif kind == "error":
        raise RuntimeError("could not connect to the database")
    elif kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
        await asyncio.sleep(60)
    elif kind == "exporter":
        log.warning(
            "Transient error StatusCode.UNAVAILABLE encountered while exporting traces to "
            "localhost:4317, retrying in 1s."
        )
    return PlainTextResponse(f"hello from /{path}")


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def site(scope: Message, receive: Receive, send: Send) -> None:
    """The application, or what breaks the connection in its stead."""
    kind = fault()["kind"] if scope["type"] == "http" else "none"
    if kind not in {"close", "reset", "cut"}:
        await app(scope, receive, send)
        return
    if kind == "cut":
        length = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"only this", "more_body": True})
    transport = transports[tuple(scope["client"])]
    if kind == "reset":
        transport.abort()
    else:
        transport.close()
    await asyncio.sleep(0.05)  # until uvicorn has seen it: it would answer 500 otherwise


def main() -> None:
    global fault_file  # noqa: PLW0603
    fault_file = Path(sys.argv[2])
    logging.basicConfig(format="%(message)s")
    uvicorn.run(site, host="127.0.0.1", port=int(sys.argv[1]), http=Protocol, access_log=True)


if __name__ == "__main__":
    main()
