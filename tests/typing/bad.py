"""Every line marked `# error` is a mistake that a type checker finds; no other is. Never run."""

from typing import Any

from flux import CallNext, Context, Enqueue, Flux

flux = Flux("sqlite:///flux.db")


@flux.job(queue="email")
async def send_email(ctx: Context, to: str, subject: str = "hi") -> int:
    return len(to)


@flux.job
def crunch(numbers: list[int]) -> float:
    return sum(numbers)


@flux.job(chunk=10)
async def index(items: list[str]) -> list[int]:
    return [len(item) for item in items]


def take_text(text: str) -> None: ...


async def use() -> None:
    await send_email.enqueue()  # error
    await send_email.enqueue(to=1)  # error
    await send_email.enqueue(to="a", subjekt="b")  # error
    await send_email.enqueue(ctx=1, to="a")  # error
    await send_email(to=2)  # error
    send_email.request(subject="a")  # error
    send_email.enqueue_sync(to=None)  # error
    await send_email.options(prio=3).enqueue(to="a")  # error
    await send_email.options(priority="high").enqueue(to="a")  # error
    await send_email.options(delay="5m").enqueue(to=3)  # error
    handle = await send_email.enqueue(to="a")
    take_text(await handle.result())  # error
    await crunch.enqueue(["a"])  # error
    crunch(numbers=3)  # error
    await index.enqueue(3)  # error
    await flux.enqueue("send_email", {"to": "a"}, priority="high")  # error


@flux.job(queue=3)  # error
async def no_queue() -> None: ...


@flux.job(max_retry=3)  # error
async def no_option() -> None: ...


@flux.job(isolation="container")  # error
async def no_isolation() -> None: ...


@flux.middleware  # error
def not_awaited(ctx: Context, call_next: CallNext) -> int:
    return 1


@flux.middleware
async def around_enqueues(enqueue: Enqueue, call_next: CallNext) -> Any:
    return enqueue.jobs  # error


from flux import Fluks  # error  # noqa: E402, F401
