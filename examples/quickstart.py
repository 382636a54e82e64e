"""The example of README.md: declare a handler, run a worker, enqueue a job, wait for its result."""

import asyncio

from flux import Context, Flux

flux = Flux("sqlite:///flux.db")


@flux.job(queue="email", max_retries=5, timeout="30s")
async def send_email(ctx: Context, to: str, subject: str) -> dict[str, str]:
    ctx.logger.info("sending to %s", to)
    return {"sent": to}


async def main() -> None:
    async with flux, flux.worker(concurrency=10):
        job = await send_email.enqueue(to="a@b.c", subject="hi")
        print(await job.result(timeout=30))


asyncio.run(main())
