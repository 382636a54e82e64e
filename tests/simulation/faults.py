"""A store as a process on a bad network sees it: slow, away, or gone just after it has done what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, cast

import msgspec

from flux.domain.errors import FluxError, Unavailable
from flux.engine.ports import Leases, Store
from tests.simulation.history import History
from tests.simulation.loop import VirtualLoop


class Weather(msgspec.Struct):
    """How bad it is. Probabilities for each verb; ``slow``: the longest usual delay in seconds.

    ``flight``: the request is long under way, up to ``longest`` seconds, and arrives even when whoever sent it has been
    cancelled or killed meanwhile.
    """

    refuse: float = 0.0
    lose: float = 0.0
    stall: float = 0.0
    slow: float = 0.003
    flight: float = 0.0
    longest: float = 0.0
    over: bool = False
    away_until: float = 0.0

    def calm(self) -> None:
        """No more faults."""
        self.refuse = self.lose = self.stall = self.flight = self.away_until = 0.0


class Observer:
    """Hears of every verb at the moment when it was applied: what the store knows, whatever its caller learns."""

    def applied(self, port: str, verb: str, args: tuple[Any, ...], answer: Any) -> None:
        """``answer`` is what the store said."""


class FaultyPort:
    """One port. Every verb waits, may be refused, and may be applied although its answer is lost."""

    def __init__(self, name: str, inner: Any, faults: Faults) -> None:
        self._name = name
        self._inner = inner
        self._faults = faults

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        call: Callable[..., Awaitable[Any]] = getattr(self._inner, verb)
        if verb == "close":
            return call

        async def faulty(*args: Any, **kwargs: Any) -> Any:
            return await self._faults.carry(self._name, verb, call, args, kwargs)

        setattr(self, verb, faulty)
        return faulty


class Faults:
    """Decides, by the weather and the world's dice, what becomes of each call of one process."""

    def __init__(self, random: Random, weather: Weather, history: History, observer: Observer) -> None:
        self._random = random
        self._weather = weather
        self._history = history
        self._observer = observer
        self.partitioned_until = 0.0

    async def carry(
        self,
        port: str,
        verb: str,
        call: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """One call."""
        weather, history, random = self._weather, self._history, self._random
        await self._delay()
        if weather.over:
            raise Unavailable("the world is over")
        now = asyncio.get_running_loop().time()
        if now < weather.away_until or now < self.partitioned_until or random.random() < weather.refuse:
            history.say("%s.%s: refused", port, verb)
            raise Unavailable("the store is away (simulated)")
        try:
            if random.random() < weather.flight:
                answer = await self._from_afar(port, verb, call, args, kwargs)
            else:
                answer = await self._apply(port, verb, call, args, kwargs)
        except FluxError as error:
            history.say("%s.%s%s: %s: %s", port, verb, Brief(args), type(error).__name__, error)
            await self._delay()
            raise
        if random.random() < weather.lose:
            history.say("%s.%s: its answer is lost", port, verb)
            await self._delay()
            raise Unavailable("the answer was lost (simulated)")
        await self._delay()
        return answer

    async def _apply(
        self,
        port: str,
        verb: str,
        call: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        answer = await call(*args, **kwargs)
        self._history.say("%s.%s%s -> %s", port, verb, Brief(args), Brief(answer))
        self._observer.applied(port, verb, args, answer)
        return answer

    async def _from_afar(
        self,
        port: str,
        verb: str,
        call: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The request leaves its process, and nothing that happens there can call it back."""
        delay = self._random.random() * self._weather.longest
        self._history.say("%s.%s%s is %.3f s under way", port, verb, Brief(args), delay)

        async def travel() -> Any:
            await asyncio.sleep(delay)
            if self._weather.over:
                return Unavailable("the world is over")
            try:
                return await self._apply(port, verb, call, args, kwargs)
            except FluxError as error:
                # As a value: the one who sent it may not be there any more to see it raised.
                return error

        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        answer = await asyncio.shield(loop.world.spawn(travel()))
        if isinstance(answer, FluxError):
            raise answer
        return answer

    async def _delay(self) -> None:
        weather, random = self._weather, self._random.random
        if weather.over:
            return
        if random() < weather.stall:
            await asyncio.sleep(random() * 3)
        elif random() < 0.7:
            await asyncio.sleep(random() * weather.slow)


class FaultyStore:
    """A store of one process behind its faults. ``changes`` are this process's own and never fail: they may be late."""

    def __init__(self, inner: Store, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self.jobs = FaultyPort("jobs", inner.jobs, faults)
        self.duties = FaultyPort("duties", inner.duties, faults)
        self.schedules = FaultyPort("schedules", inner.schedules, faults)
        self.queues = FaultyPort("queues", inner.queues, faults)
        self.queries = FaultyPort("queries", inner.queries, faults)
        self.leases = FaultyPort("leases", inner.leases, faults)
        self.changes = inner.changes

    def lease_connection(self) -> Leases:
        """The heartbeat's own connection has faults of its own."""
        return cast(Leases, FaultyPort("heartbeat", self._inner.lease_connection(), self._faults))

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._inner, verb)


class Brief:
    """Arguments and answers, short enough for a line."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return _brief(self._value)


def _brief(value: Any) -> str:
    name = type(value).__name__
    if name in ("Outcome", "Inserted", "ClaimedJob", "NewJob"):
        parts = [value.id[-12:] if hasattr(value, "id") else value.job_id[-12:]]
        for field in ("type", "state", "how", "attempt", "delay", "claim_id"):
            if getattr(value, field, None) not in (None, 0):
                parts.append(f"{field}={getattr(value, field)!s}")
        return f"{name}({' '.join(parts)})"
    if name == "WorkerInfo":
        # Not its pid, which is that of the simulation.
        return f"WorkerInfo({value.id[-12:]} slots={value.slots})"
    if name == "WorkerView":
        return f"WorkerView({_brief(value.info)} alive={value.alive})"
    if name == "Demand":
        hints = "" if value.hints is None else f" hints={_brief(value.hints)}"
        return f"Demand({value.worker_id[-12:]} slots={value.slots}{hints}{' lowest' if value.lowest_first else ''})"
    if isinstance(value, str):
        return value[-12:] if len(value) == 36 else repr(value)
    if isinstance(value, list | tuple):
        inside = ", ".join(_brief(item) for item in value[:20])
        return f"({inside}{', …' if len(value) > 20 else ''})"
    if callable(value):
        return "plan"
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"
