"""How much memory this process has and may have. Runs in a child process, around one attempt.

The limit is RLIMIT_DATA, set for each job to what the process holds already plus what its handler may have, and lifted
after it. RLIMIT_DATA counts what a program allocates (heap and private writable mappings). RLIMIT_AS counts every
reservation of addresses: a thread's arena reserves 64 MB without using them, CUDA, JIT and WebAssembly runtimes many
gigabytes, so honest handlers would fail under it. Not counted: shared memory, and what a handler's own child processes
take (each has the same limit for itself). Other systems than Linux offer nothing that works: no limit is kept there.
"""

from __future__ import annotations

import os
from types import TracebackType


def resident() -> int:
    """Bytes of this process in memory (RSS); 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _data() -> int | None:
    """What RLIMIT_DATA is compared with: VmData, in bytes."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            text = file.read(8192)
        return int(text.partition(b"VmData:")[2].split(None, 1)[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None


class MemoryLimit:
    """A context in which this process may allocate ``most`` bytes more (None: as many as it likes)."""

    __slots__ = ("_before", "_most")

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._before: tuple[int, int] | None = None

    def __enter__(self) -> None:
        if self._most is None or (held := _data()) is None:
            return
        import resource

        before = resource.getrlimit(resource.RLIMIT_DATA)
        soft = held + self._most
        for stricter in before:
            # An administrator's limit stands.
            if stricter != resource.RLIM_INFINITY:
                soft = min(soft, stricter)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
        self._before = before

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            import resource

            # Only the soft limit was lowered, so it may go up again.
            resource.setrlimit(resource.RLIMIT_DATA, self._before)


def ran_out(error: BaseException) -> bool:
    """Whether want of memory is behind this exception."""
    seen: set[int] = set()
    behind: BaseException | None = error
    while behind is not None and id(behind) not in seen:
        if isinstance(behind, MemoryError):
            return True
        seen.add(id(behind))
        behind = behind.__cause__ or behind.__context__
    return False


def written(size: int) -> str:
    """A size as people write it: 512MB, 1GB."""
    for unit, binary, decimal in (("GB", 1 << 30, 10**9), ("MB", 1 << 20, 10**6), ("KB", 1 << 10, 10**3)):
        for step in (binary, decimal):
            if size and size % step == 0:
                return f"{size // step}{unit}"
    return f"{size} bytes"


def past_limit(size: int) -> str:
    """What a handler did that wanted more."""
    return f"went past its memory limit of {written(size)}"
