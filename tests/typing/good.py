"""Every line here is right: a type checker finds nothing. Checked by tests/unit/sdk/test_typing.py, never run."""

from dataclasses import dataclass
from typing import Annotated, Any, assert_type

from flux import CallNext, Context, Depends, Enqueue, Flux, JobHandle, Request, Snooze

flux = Flux("sqlite:///flux.db")


@dataclass
class Report:
    title: str
    pages: int


class Session:
    pass


def get_session() -> Session:
    return Session()


@flux.job(queue="email", max_retries=5, timeout="30s", no_retry=ValueError, tags=["mail"])
async def send_email(ctx: Context, to: str, subject: str = "hi") -> int:
    return len(to)


@flux.job
async def build(report: Report) -> Report:
    return report


@flux.job(isolation="process", memory="512MB")
def crunch(numbers: list[int]) -> float:
    return sum(numbers)


@flux.job
def plain(ctx: Context, name: str) -> str:
    return name


@flux.job
async def later(name: str) -> str | Snooze:
    return Snooze("30s")


@flux.job
async def save(name: str, *, session: Session = Depends(get_session)) -> None: ...


@flux.job
async def load(name: str, session: Annotated[Session, Depends(get_session)]) -> None: ...


@flux.job(chunk=100, chunk_wait="200ms")
async def index(items: list[Report]) -> list[int]:
    return [item.pages for item in items]


@flux.middleware
async def around_both(call: Context | Enqueue, call_next: CallNext) -> Any:
    return await call_next(call)


@flux.middleware
async def around_attempts(ctx: Context, call_next: CallNext) -> Any:
    return await call_next(ctx)


@flux.middleware
async def around_enqueues(enqueue: Enqueue, call_next: CallNext) -> Any:
    accepted = await call_next(enqueue)
    assert_type([job.id for job in accepted], list[str])
    return accepted


@flux.schedule("0 9 * * *", timezone="Europe/Berlin", to="all@example.org")
@flux.job
async def morning(to: str) -> None: ...


async def use() -> None:
    handle = await send_email.enqueue(to="a@b.c", subject="hi")
    assert_type(handle, JobHandle[int])
    assert_type(await handle.result(timeout=30), int)
    assert_type(await send_email(to="a@b.c"), int)
    assert_type(send_email.request("a@b.c"), Request[int])
    await send_email.options(delay="5m", priority=9).enqueue(to="a@b.c")
    assert_type(send_email.enqueue_sync(to="x").result_sync(), int)

    assert_type(await (await build.enqueue(Report("a", 1))).result(), Report)
    assert_type(crunch([1, 2]), float)
    assert_type(plain(name="x"), str)
    assert_type(await later.enqueue(name="x"), JobHandle[str | Snooze])
    await save.enqueue(name="x")
    assert_type(await index.enqueue(Report("a", 1)), JobHandle[int])
    await morning.enqueue(to="x")

    handles = await flux.enqueue_many([send_email.request(to=address) for address in ("a", "b")])
    assert_type(handles, list[JobHandle[int]])
    await flux.enqueue("send_email", {"to": "x"}, priority=1)
