"""A PostgreSQL and a client of it in a network of their own, which then drops everything: run by ``test_silence.py``.

Prints what became of a statement that was sent then, of one that waited for its answer, and of the server's session.
"""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import closing

from flux.stores.postgres.database import Database, Place
from scripts.servers.processes import until
from tests.servers.private import Servers
from tests.servers.run import Run


async def main(url: str) -> None:
    database = Database(Place(url=url))
    sending, waiting = await database.connect(), await database.connect()
    answer = asyncio.create_task(waiting.fetchval("SELECT pg_sleep(3600)"))
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while not await sending.fetchval(sleeping):  # noqa: ASYNC110 - a condition elsewhere, in a server
        await asyncio.sleep(0.01)
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    for name, question in (("sent", sending.fetchval("SELECT 1")), ("awaited", answer)):
        try:
            async with asyncio.timeout(120):
                await question
        except Exception as error:
            print(f"{name}: {type(error).__name__}")


if __name__ == "__main__":
    with closing(Run()) as run, closing(Servers(run)) as servers:
        server = servers.postgres()
        asyncio.run(main(server.url))
        if until(lambda: "could not receive data from client: Connection timed out" in server.log):
            print("server: gave the session up")
