"""``make bench-peers``: Flux and its peers in alternation, medians of several rounds, as tables, JSON and a chart."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks.peers import environments, report
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.measure import Failed, Round, Runner
from benchmarks.peers.servers import Servers, running


def main() -> None:
    """Install, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each of every peer (default 5)")
    parser.add_argument("--only", default="", help="peers by name, with commas; flux is all of Flux's")
    parser.add_argument("--jobs", type=int, default=60_000, help="jobs of a drain (default 60,000)")
    parser.add_argument(
        "--singles", type=int, default=5_000, help="single enqueues of a round (default 5,000)"
    )
    parser.add_argument("--pickups", type=int, default=300, help="pickups of a round (default 300)")
    parser.add_argument("--python", default="", help="interpreter of them all (default: the newest found)")
    parser.add_argument("--out", type=Path, default=environments.HERE.parent, help="where peers.json goes")
    options = parser.parse_args()
    # Also when told to end: what was started is stopped, and the servers' folders go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    peers = chosen(options.only)
    python = options.python or environments.newest_python()
    size = Round(options.jobs, options.singles, options.pickups)
    results = report.Results(size, options.rounds, environments.python_version(python))
    with running(environments.FOLDER) as servers:
        results.servers = servers.versions
        runners = install(peers, python, servers, results)
        for number in range(options.rounds):
            # Nobody is always the first, or always after the same one.
            for runner in runners[number % len(runners) :] + runners[: number % len(runners)]:
                one_round(runner, size, number, results)
    results.write(options.out)
    print(results.tables())


def chosen(only: str) -> list[Peer]:
    """The peers that ``--only`` names, all without it."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = set(names) - {peer.name for peer in PEERS} - {"flux"}
    if unknown:
        sys.exit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PEERS)}")
    return [peer for peer in PEERS if not names or peer.name in names or (peer.is_flux and "flux" in names)]


def install(peers: list[Peer], python: str, servers: Servers, results: report.Results) -> list[Runner]:
    """Those that could be installed, ready to run."""
    runners = []
    for peer in peers:
        results.add(peer)
        try:
            command = environments.command(peer, python)
            results.versions[peer.name] = environments.version(peer)
        except environments.NotInstalled as error:
            results.fail(peer, f"not installed: {error}")
            continue
        runners.append(Runner(peer, command, servers, environments.FOLDER))
    if not runners:
        sys.exit("no peer could be installed")
    return runners


def one_round(runner: Runner, size: Round, number: int, results: report.Results) -> None:
    """Measure one peer once; a failure is a result too."""
    if results.failed(runner.peer):
        return
    try:
        figures = runner.measure(size)
    except Failed as error:
        results.fail(runner.peer, str(error))
        print(f"round {number + 1}: {runner.peer.name}: {error}", file=sys.stderr, flush=True)
        return
    results.take(runner.peer, figures)
    line = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
    print(f"round {number + 1}: {runner.peer.name}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
