"""The proxy's inside, on its event loop: the connections that it carries, and what happens to the bytes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

Side = Literal["client", "server"]
_CHUNK = 65_536


class Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.silent = False

    def cut(self) -> None:
        """Break both, without an orderly end."""
        self.client.transport.abort()
        self.server.transport.abort()

    def lose_answer(self) -> None:
        """Break the client's; the server's ends in order, after what was sent to it."""
        self.client.transport.abort()
        self.server.close()


class Network:
    """All connections to one server. Everything here runs on the proxy's loop."""

    def __init__(self, host: str, port: int) -> None:
        self.links: set[Link] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.delay = 0.0
        self._host = host
        self._port = port
        self._here: int | None = None
        self._listener: asyncio.Server | None = None
        self._budgets: dict[Side, int] = {}
        self._words: tuple[bytes, bool, bool] | None = None
        self._carriers: set[asyncio.Task[None]] = set()

    async def listen(self) -> int:
        """Let connections in; the port, the same each time."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self._here or 0)
            self._here = int(self._listener.sockets[0].getsockname()[1])
        assert self._here is not None
        return self._here

    async def refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    async def resume(self) -> None:
        self.flowing.set()
        self.delay = 0.0
        self._budgets.clear()
        self._words = None
        await self.listen()

    async def close(self) -> None:
        await self.refuse()
        await asyncio.sleep(0)  # what was accepted a moment ago begins now, and can be ended
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    def cut(self) -> None:
        for link in self.links:
            link.cut()

    def cut_after(self, count: int, toward: Side) -> None:
        self._budgets[toward] = count

    def cut_at(self, words: bytes, delivered: bool, then_refuse: bool) -> None:
        self._words = (words, delivered, then_refuse)

    def forget(self) -> None:
        for link in self.links:
            link.silent = True

    async def _carry(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carriers.add(task)
        task.add_done_callback(self._carriers.discard)
        try:
            answers, server = await asyncio.open_connection(self._host, self._port)
        except (OSError, asyncio.CancelledError):
            client.transport.abort()
            return  # only ``close`` cancels, and asyncio logs a carrier that ends so as an error
        link = Link(client, server)
        if self._listener is None:
            link.cut()  # refused while it was being connected
            return
        self.links.add(link)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, server, "server", link))
                pumps.create_task(self._pump(answers, client, "client", link))
        except asyncio.CancelledError:
            link.cut()
        finally:
            self.links.discard(link)
            client.close()
            server.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toward: Side, link: Link
    ) -> None:
        """Carry one direction to its end, which is the end of the other one too."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self.flowing.wait()
                if link.silent:
                    continue
                if not self._pass(data, writer, toward, link):
                    return
                await writer.drain()
        if not link.silent:
            writer.close()

    def _pass(self, data: bytes, writer: asyncio.StreamWriter, toward: Side, link: Link) -> bool:
        """Forward what may go; False when the connection is broken instead of going on."""
        if toward == "server" and self._words is not None and self._words[0] in data:
            _, delivered, then_refuse = self._words
            self._words = None
            if then_refuse and self._listener is not None:
                self._listener.close()
                self._listener = None
                for other in self.links - {link}:
                    other.cut()
            if delivered:
                writer.write(data)
                link.lose_answer()
            else:
                link.cut()
            return False
        budget = self._budgets.get(toward)
        if budget is None:
            writer.write(data)
            return True
        writer.write(data[:budget])
        if len(data) < budget:
            self._budgets[toward] = budget - len(data)
            return True
        del self._budgets[toward]
        # In order toward the one who is owed these bytes, a break for the other.
        writer.close()
        (link.client if toward == "server" else link.server).transport.abort()
        return False
