"""Start an interpreter as a child, with a line to it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

from flux.engine import wire
from flux.engine.targets import main_module


def start_child() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Our end of the line, and the process at the other. Raises ``OSError`` when the system refuses."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            ours.setblocking(False)
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
            fd = theirs.fileno()
            command = [sys.executable, *flags, "-m", "flux.engine.child", str(fd), str(os.getpid())]
            home = str(Path(__file__).parents[2])
            paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(fd,),
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        except BaseException:
            ours.close()
            raise
    return ours, popen


def first_words(warm: list[str]) -> wire.Begin:
    """What the child must know to resemble this process."""
    name, path = main_module()
    python_path = os.environ.get("PYTHONPATH")
    level = logging.getLogger().level
    return wire.Begin(list(sys.path), list(sys.argv), name, path, python_path, level, warm)
