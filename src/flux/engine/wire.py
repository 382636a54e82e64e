"""What a worker and its child process say to each other: length-prefixed msgpack over one socket pair."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from flux.domain.job import ClaimedJob, LogLine
from flux.engine.ending import Ending

HEAD = 4
"""Bytes of a frame's length, big endian, in front of each frame."""

MOST_FRAME = 1 << 30
"""No honest frame is longer. Letters in place of a length are above it, so a stray print into the line is noticed."""

EXIT_LOST = 213
"""Exit code of a child that cannot reach its parent any more."""

EXIT_MEMORY = 214
"""Exit code of a child whose memory limit left no room even to say so."""


class Begin(msgspec.Struct, array_like=True, tag="begin"):
    """Parent: what a new child needs to resemble the worker; always the first frame.

    ``main_name`` or ``main_path`` is the worker's ``__main__``; ``python_path`` its own PYTHONPATH, which starting the
    child replaced. ``warm`` are targets to import before the first job asks for them.
    """

    path: list[str]
    argv: list[str]
    main_name: str | None
    main_path: str | None
    python_path: str | None
    log_level: int
    warm: list[str]


class Run(msgspec.Struct, array_like=True, tag="run"):
    """Parent: run one attempt. ``now`` is the desk's clock, for log lines."""

    number: int
    target: str
    claimed: ClaimedJob
    memory: int | None
    max_result: int
    now: int


class Stored(msgspec.Struct, array_like=True, tag="stored"):
    """Parent: what was said before ``Flush`` ``ticket`` is stored, or why it could not be."""

    ticket: int
    error: str | None = None


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """Child: it can take jobs."""


class Taken(msgspec.Struct, array_like=True, tag="taken"):
    """Child: it has the job; from here on its death is the attempt's."""

    number: int


class Note(msgspec.Struct, array_like=True, tag="note"):
    """Child: a remark of the handler."""

    number: int
    progress: bytes | None
    checkpoint: bytes | None
    log: LogLine | None


class Heartbeat(msgspec.Struct, array_like=True, tag="heartbeat"):
    """Child: the handler begins, or says that it gets on."""

    number: int


class Flush(msgspec.Struct, array_like=True, tag="flush"):
    """Child: say ``Stored`` when everything before is stored."""

    number: int
    ticket: int


class Done(msgspec.Struct, array_like=True, tag="done"):
    """Child: how the attempt ended, and why this child should not be used again (None: it may be)."""

    number: int
    ending: Ending
    retire: str | None = None


FromParent: TypeAlias = Begin | Run | Stored
FromChild: TypeAlias = Ready | Taken | Note | Heartbeat | Flush | Done


class TooLarge(ValueError):
    """A remark or result too long for one frame."""


class Codec:
    """Makes and reads frames. Not to be shared between threads."""

    def __init__(self, reads: Any) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(reads)

    def frame(self, message: FromParent | FromChild) -> bytes:
        """One message with its length in front."""
        body = self._encoder.encode(message)
        if len(body) > MOST_FRAME:
            raise TooLarge(f"{len(body)} bytes are more than a child process can pass on ({MOST_FRAME})")
        return len(body).to_bytes(HEAD, "big") + body

    def read(self, body: bytes | bytearray | memoryview) -> Any:
        """The message in a frame's body. Raises ``msgspec.MsgspecError`` for anything else."""
        return self._decoder.decode(body)


class Frames:
    """Bytes as they come in, cut into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete now. Raises ``TooLarge`` for a length that no frame has."""
        buffer = self._buffer
        buffer += data
        bodies = []
        at = 0
        while len(buffer) - at >= HEAD:
            size = int.from_bytes(buffer[at : at + HEAD], "big")
            if size > MOST_FRAME:
                raise TooLarge(f"a frame of {size} bytes")
            end = at + HEAD + size
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[at + HEAD : end]))
            at = end
        if at:
            del buffer[:at]
        return bodies
