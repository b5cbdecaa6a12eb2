"""Messages between the judge and its workers: framed JSON over a Unix socket, with memory handed over as descriptors.

JSON because a candidate's process is hostile: unpickling what it sends would run its code in the user's process.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

_HEADER = struct.Struct("!QI")  # bytes of the body, number of descriptors
_BODY_LIMIT = 64 << 20
_DESCRIPTOR_LIMIT = 16

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The other side is gone."""


class ChannelGarbage(Exception):
    """What arrived is no message."""


class ChannelTimeout(Exception):
    """Nothing whole arrived in time."""


class Channel:
    """One end of a connection. ``receive`` hands over ownership of the descriptors; ``send`` does not take it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Raises ``ChannelClosed`` when nobody listens any more."""
        body = json.dumps(message).encode()
        header = _HEADER.pack(len(body), len(descriptors))
        try:
            self.socket.settimeout(None)
            sent = socket.send_fds(self.socket, [header], list(descriptors)) if descriptors else 0
            self.socket.sendall(header[sent:] + body)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, deadline: float | None = None) -> tuple[Message, list[int]]:
        """``deadline`` in ``time.monotonic`` seconds; None waits for ever."""
        try:
            self._arm(deadline)
            header, descriptors, _, _ = socket.recv_fds(self.socket, _HEADER.size, _DESCRIPTOR_LIMIT)
            if not header:
                raise ChannelClosed
            header += self._exactly(_HEADER.size - len(header), deadline)
            size, count = _HEADER.unpack(header)
            if size > _BODY_LIMIT or count != len(descriptors):
                raise ChannelGarbage
            message = json.loads(self._exactly(size, deadline))
        except TimeoutError as error:
            raise ChannelTimeout from error
        except OSError as error:
            raise ChannelClosed from error
        except ValueError as error:
            raise ChannelGarbage from error
        if not isinstance(message, dict):
            raise ChannelGarbage
        return message, descriptors

    def close(self) -> None:
        self.socket.close()

    def _arm(self, deadline: float | None) -> None:
        self.socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-3))

    def _exactly(self, size: int, deadline: float | None) -> bytes:
        parts = []
        while size > 0:
            self._arm(deadline)
            part = self.socket.recv(min(size, 1 << 20))
            if not part:
                raise ChannelClosed
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
