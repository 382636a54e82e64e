"""The virtual loop itself: time jumps, order holds within a strand, killed and stopped processes do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

import pytest

from tests.simulation.loop import Process, Stuck, VirtualLoop

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], seed: int = 0) -> tuple[T, VirtualLoop]:
    loop = VirtualLoop(Random(seed))
    try:
        return loop.run_until_complete(coroutine), loop
    finally:
        loop.end()
        loop.close()


def test_hours_pass_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1800):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main())[0] == pytest.approx(5400)


def test_one_strand_keeps_its_order() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        for n in range(100):
            asyncio.get_running_loop().call_soon(seen.append, n)
        await asyncio.sleep(0.1)
        return seen

    assert run(main())[0] == list(range(100))


def interleaving(seed: int) -> list[str]:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        seen: list[str] = []

        async def walk(name: str) -> None:
            for _ in range(20):
                seen.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(*[Process(loop, name).spawn(walk(name)) for name in "abc"])
        return seen

    return run(main(), seed)[0]


def test_processes_interleave_by_the_seed() -> None:
    assert interleaving(1) == interleaving(1)
    assert len({tuple(interleaving(seed)) for seed in range(5)}) == 5


def test_a_killed_process_runs_no_finally_and_a_stopped_one_goes_on() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        seen: list[str] = []
        over = False

        async def life(name: str) -> None:
            try:
                for n in range(10):
                    seen.append(f"{name}{n}")
                    await asyncio.sleep(1)
            finally:
                if not over:
                    seen.append(f"{name} ends")

        killed, stopped = Process(loop, "killed"), Process(loop, "stopped")
        killed.spawn(life("k"))
        task = stopped.spawn(life("s"))
        await asyncio.sleep(2.5)
        killed.kill()
        stopped.stop()
        await asyncio.sleep(100)
        assert seen == ["k0", "s0", "k1", "s1", "k2", "s2"] or sorted(seen) == sorted(
            ["k0", "s0", "k1", "s1", "k2", "s2"]
        )
        stopped.go_on()
        await task
        over = True
        return seen[6:]

    assert run(main())[0] == [*[f"s{n}" for n in range(3, 10)], "s ends"]


def test_a_fuse_kills_between_two_steps() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        steps = 0

        async def walk() -> None:
            nonlocal steps
            while True:
                steps += 1
                await asyncio.sleep(0)

        process = Process(loop, "p")
        process.fuse, process.on_fuse = 17, process.kill
        process.spawn(walk())
        await asyncio.sleep(10)
        return steps

    assert run(main())[0] == 17


def test_nothing_left_to_do_is_found() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())


def test_turning_in_circles_is_found() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - the point of it
            await asyncio.sleep(0)

    with pytest.raises(Stuck):
        run(main())
