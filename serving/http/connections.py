"""What a connection may do before and beside a request: limits that uvicorn's protocol does not have."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SLICE_BYTES: Final = 16 << 10
"""Bytes that are parsed at a time: a body in chunks of one byte takes the parser ten microseconds for each."""
FREE_CHUNKS: Final = 1024
CHUNK_BYTES: Final = 64
"""Least size of chunks, on average, once there were `FREE_CHUNKS`: slices bound a turn, but not the turns of many."""


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of one connection, and how many there may be.

    Attributes:
        connections: at a time; beyond it the one goes that has waited longest for its caller, unless some of an answer
            is still being sent on it.
        head_s: seconds within which the head of a request must be whole, from the first byte of it, or from the
            beginning of the connection; and in which what is left of a body after its answer must have come.
        send_s: seconds within which a caller must take something of an answer that is waiting for it, also where the
            connection is to be closed after it.
        linger_s: seconds for which what follows a refused head is read and dropped.
        pipelined_bytes: what may come behind a request before it is answered.
    """

    connections: int = 1024
    head_s: float = 10.0
    send_s: float = 60.0
    linger_s: float = 2.0
    pipelined_bytes: int = SLICE_BYTES


def bounded_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """uvicorn's protocol with limits."""
    return type("BoundedProtocol", (_BoundedProtocol,), {"limits": limits})


class _CountingConnection(h11.Connection):
    """Refuses bodies in very many very small chunks."""

    _chunks = _bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_end
            self._bytes += len(event.data)
            if self._chunks > FREE_CHUNKS and self._bytes < CHUNK_BYTES * self._chunks:
                raise h11.RemoteProtocolError("too many small chunks")
        elif isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        return event


class _BoundedProtocol(H11Protocol):
    """Closes connections that hold out, and goes on reading behind a request, so that a caller's leaving is noticed."""

    limits: ClassVar[ConnectionLimits]
    _head: asyncio.TimerHandle | None = None
    _send: asyncio.TimerHandle | None = None
    _behind = 0
    _lingering = False
    _made_room = False
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._slices: deque[bytes] = deque()
        self._idle_since = self.loop.time()
        super().connection_made(transport)
        self.conn = _CountingConnection(h11.SERVER, self.config.h11_max_incomplete_event_size or 0)
        self._make_room()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._slices.clear()
        self._head_is_here()
        self._send_goes_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if not self._slices and len(data) <= SLICE_BYTES:
            self._received(data)
            return
        if not self._slices:
            self.loop.call_soon(self._next_slice)
        self._slices.extend(data[start : start + SLICE_BYTES] for start in range(0, len(data), SLICE_BYTES))
        self.transport.pause_reading()

    def on_response_complete(self) -> None:
        self._behind = 0
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._answering:
            self._head_is_here()
        elif self.transport.is_closing():
            self._await_taking(self.transport.get_write_buffer_size())
        elif self.conn.their_state is h11.SEND_BODY:
            self._await_head()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_taking(self.transport.get_write_buffer_size())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and read on for a moment: closed at once, the caller would not see the answer."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # it was answered before its body was whole
            self.transport.abort()
            return
        limit = self.config.h11_max_incomplete_event_size
        headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=(msg if self._answering else f"{msg} Its head may have {limit} bytes.").encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._lingering = True
        if self._answering:  # nobody waits for the application's answer any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._head_is_here()
        self._head = self.loop.call_later(self.limits.linger_s, self.transport.abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def pause_writing(self) -> None:
        self._await_taking(self.transport.get_write_buffer_size())
        super().pause_writing()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():  # it closes once the rest is taken as well
            self._send_goes_on()
        super().resume_writing()

    def _received(self, data: bytes) -> None:
        if self._answering and not self.cycle.more_body:
            self._behind += len(data)
            if self._behind > self.limits.pipelined_bytes:
                self.transport.abort()
                return
        super().data_received(data)
        if self._lingering:
            return
        if not self._answering:
            self._await_head()
            return
        self._head_is_here()
        if not self.cycle.more_body:  # h11 pauses at a second request, and an end behind it would not be seen
            self.flow.resume_reading()

    def _next_slice(self) -> None:
        """Parse some of what has come, and let others have a turn before the rest."""
        if self._lingering or self.transport.is_closing():
            self._slices.clear()
        if self._slices:
            self._received(self._slices.popleft())
        if self._slices:
            self.loop.call_soon(self._next_slice)
        elif not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    @property
    def _sending(self) -> bool:
        return self.transport.get_write_buffer_size() > 0

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its caller, if there are too many."""
        if len(self.connections) <= self.limits.connections:
            return
        # Many may come before the first one that was closed is gone.
        kept = [each for each in self.connections if isinstance(each, _BoundedProtocol) and not each._made_room]
        if len(kept) > self.limits.connections:
            idle = [each for each in kept if each is not self and not (each._answering or each._sending)]
            longest = min(idle, key=lambda each: each._idle_since, default=self)
            longest._made_room = True
            longest.transport.abort()

    def _await_head(self) -> None:
        if self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(self.limits.head_s, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _await_taking(self, waiting: int) -> None:
        """Give the caller time to take some of the bytes that wait for it."""
        self._send_goes_on()
        self._send = self.loop.call_later(self.limits.send_s, self._look_at_taking, waiting)

    def _look_at_taking(self, waited: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting < waited:
            self._await_taking(waiting)
        else:
            self.transport.abort()

    def _send_goes_on(self) -> None:
        if self._send is not None:
            self._send.cancel()
            self._send = None
