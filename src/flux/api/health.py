"""Health: is the store there, is the broker, may traffic come. Every answer is given within two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from flux.api.http import Answer, Call
from flux.api.operations import Handler, Operation, Reply

if TYPE_CHECKING:
    from flux.api.app import Api

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that a check may take: a probe that hangs tells nobody anything."""


class Check(msgspec.Struct):
    """One part: ``ok``, ``degraded`` (works, and something about it should be known) or ``down``, and a sentence."""

    status: str
    detail: str
    durable: bool | msgspec.UnsetType = msgspec.UNSET
    replicated: bool | msgspec.UnsetType = msgspec.UNSET
    size: int | msgspec.UnsetType | None = msgspec.UNSET
    configured: bool | msgspec.UnsetType = msgspec.UNSET


class Health(msgspec.Struct):
    """All parts together: ``down`` when the store is; ``degraded`` when only the broker is, since jobs still run."""

    status: str
    checks: dict[str, Check]


class HealthResource:
    """The calls on health."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._store = api.engine.store
        self._broker = api.engine.broker

    async def all(self, call: Call) -> Answer:
        """``GET /health``."""
        db, broker = await asyncio.gather(self._db(), self._carrier())
        status = "ok"
        if db.status == "down":
            status = "down"
        elif db.status != "ok" or broker.status != "ok":
            status = "degraded"
        return _answer(Health(status, {"db": db, "broker": broker}), status)

    async def db(self, call: Call) -> Answer:
        """``GET /health/db``."""
        check = await self._db()
        return _answer(check, check.status)

    async def redis(self, call: Call) -> Answer:
        """``GET /health/redis``."""
        if self._broker.name != "redis":
            return _answer(
                Check("ok", "Redis is not configured; the store is the broker.", configured=False), "ok"
            )
        check = await self._carrier()
        return _answer(msgspec.structs.replace(check, configured=True), check.status)

    async def live(self, call: Call) -> Answer:
        """``GET /health/live``."""
        return _answer(Check("ok", "The process answers."), "ok")

    async def ready(self, call: Call) -> Answer:
        """``GET /health/ready``."""
        check = await self._db()
        if self._api.stopping.is_set():
            check = Check("down", "This process is shutting down.")
        elif check.status == "ok" and (reason := self._api.held_up()):
            check = Check("down", reason)
        return _answer(check, check.status)

    async def _db(self) -> Check:
        health = await _within(self._store.health())
        if health is None:
            return Check("down", f"The store has not answered for {PATIENCE:g} s.")
        return Check(
            "ok" if health.ok else "down",
            health.detail,
            durable=health.durable,
            replicated=msgspec.UNSET if health.replicated is None else health.replicated,
            size=health.size,
        )

    async def _carrier(self) -> Check:
        try:
            async with asyncio.timeout(PATIENCE):
                problem = await self._broker.health()
        except TimeoutError:
            problem = f"The broker has not answered for {PATIENCE:g} s."
        except Exception as error:
            problem = f"The broker cannot be asked: {error}"
        if problem is None:
            return Check(
                "ok", "Hints are carried." if self._broker.name != "store" else "The store is the broker."
            )
        return Check("down", problem)


async def _within(question: Awaitable[T]) -> T | None:
    """The answer, or None when it takes too long. What hangs may hang in cancellation too: it is left behind."""
    asked = asyncio.ensure_future(question)
    done, _ = await asyncio.wait({asked}, timeout=PATIENCE)
    if not done:
        asked.cancel()
        return None
    return asked.result()


def _answer(value: Check | Health, status: str) -> Answer:
    return Answer.json(value, 503 if status == "down" else 200, ((b"cache-control", b"no-store"),))


def operations(api: Api) -> list[Operation]:
    """The operations on health. Their 503 has the same form as their 200, for whoever looks at the reason."""
    health = HealthResource(api)
    ok = {"status": "ok", "detail": "The database flux.db takes writes.", "durable": True, "size": 81920}
    broker = {"status": "ok", "detail": "The store is the broker."}
    down = {"status": "down", "detail": "The database flux.db is locked.", "durable": True, "size": 81920}

    def operation(
        path: str, name: str, summary: str, handler: Handler, example: object, bad: object
    ) -> Operation:
        kind = Health if path == "/health" else Check
        replies = {200: Reply("Well, or degraded.", kind, example)}
        if bad is not None:
            replies[503] = Reply("Down.", kind, bad)
        return Operation(
            method="GET",
            path=path,
            name=name,
            group="Health",
            summary=summary,
            handler=handler,
            replies=replies,
        )

    return [
        operation(
            "/health",
            "getHealth",
            "Is everything well?",
            health.all,
            {"status": "ok", "checks": {"db": ok, "broker": broker}},
            {"status": "down", "checks": {"db": down, "broker": broker}},
        ),
        operation("/health/db", "getStoreHealth", "Does the store take writes?", health.db, ok, down),
        operation(
            "/health/redis",
            "getRedisHealth",
            "Does Redis answer?",
            health.redis,
            {
                "status": "ok",
                "detail": "Redis is not configured; the store is the broker.",
                "configured": False,
            },
            {"status": "down", "detail": "Redis does not answer.", "configured": True},
        ),
        operation(
            "/health/live",
            "getLiveness",
            "Does the process answer?",
            health.live,
            {"status": "ok", "detail": "The process answers."},
            None,
        ),
        operation("/health/ready", "getReadiness", "May traffic come here?", health.ready, ok, down),
    ]
