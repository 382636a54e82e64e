"""The dashboard as an ASGI application: to be served by itself, or mounted in another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flux.dashboard import http, security
from flux.dashboard.assets import Assets
from flux.dashboard.feeds import AWAY, Feeds
from flux.dashboard.flashes import clear_flash, read_flash, set_flash
from flux.dashboard.http import Disconnected, Query, Receive, Request, Response, Scope, Send
from flux.dashboard.rendering import Renderer
from flux.dashboard.routes import ACTIONS, PAGES, Found
from flux.dashboard.shared import Shared, Shot
from flux.dashboard.site import Ask, Done, Page, Site, View
from flux.domain.errors import Conflict, FluxError, Invalid, NotFound, TooDeep, Unavailable
from flux.engine.engine import Engine

THEMES = ("light", "dark")
THEME_COOKIE = "flux_theme"

log = logging.getLogger("flux.dashboard")


class Dashboard:
    """The ASGI application. Whoever serves it calls ``stop`` (or sends the lifespan's shutdown) to end its streams."""

    def __init__(self, engine: Engine, prefix: str, api_url: str) -> None:
        self._prefix = prefix
        self._shared = Shared(engine.clock)
        self._site = Site(engine, self._shared, api_url)
        self._feeds = Feeds(engine.store.changes, engine.clock)
        self._assets = Assets()
        self._renderer = Renderer(self._assets, api_url)

    async def stop(self) -> None:
        """End every open stream; a server that waits for its connections would wait for ever otherwise."""
        await self._feeds.close()
        await self._shared.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            request = http.read_request(scope, receive, self._prefix)
            try:
                await self._serve(request, send)
            except Disconnected:
                return

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, request: Request, send: Send) -> None:
        if request.method in ("GET", "HEAD"):
            if request.path.startswith("/static/"):
                version, _, name = request.path.removeprefix("/static/").partition("/")
                response = self._assets.respond(version, name) or self._lost(request)
            elif (found := PAGES.find(request.path)) is None:
                response = self._lost(request)
            elif request.wants_stream:
                await self._stream(request, found, send)
                return
            else:
                response = await self._page(request, found)
        elif request.method == "POST":
            response = await self._act(request)
        else:
            response = self._problem(request, "This page is only for reading", "Use GET.", 405)
        response.headers += security.HEADERS
        await response.send(send, head=request.method == "HEAD")

    # --- pages ---

    async def _look(self, request: Request, found: Found[Page]) -> Shot[View]:
        async def load() -> View:
            return await found.value(
                self._site, Ask(request.query, found.parts, self._site.engine.clock.now())
            )

        return await self._shared.get(f"page {request.path}{request.query}", load)

    async def _page(self, request: Request, found: Found[Page]) -> Response:
        try:
            shot = await self._look(request, found)
        except FluxError as error:
            return self._refused(request, error)
        except Exception:
            log.exception("page %s failed", request.path)
            return self._problem(
                request,
                "This page could not be made",
                "The dashboard's own log says why. Other pages may work.",
                500,
            )
        if shot.value.forward is not None:
            return http.redirect(request.base + shot.value.forward)
        return self._document(request, shot.value, shot.at, shot.away)

    def _document(self, request: Request, view: View, at: int, away: str | None) -> Response:
        token = security.token_of(request) or security.new_token()
        theme = request.cookies.get(THEME_COOKIE, "")
        flash = read_flash(request)
        body = self._renderer.document(
            view,
            base=request.base,
            query=request.query,
            path=request.path,
            csrf=token,
            theme=theme if theme in THEMES else "",
            flash=flash,
            now=self._site.engine.clock.now(),
            at=at,
            away=away and AWAY.format(away),
        )
        response = Response(
            body, view.status, headers=[("cache-control", "no-store"), ("vary", "accept, cookie")]
        )
        if security.token_of(request) is None:
            response.cookie(security.CSRF_COOKIE, token, request, age=30 * 86_400)
        if flash is not None:
            clear_flash(response, request)
        return response

    def _lost(self, request: Request) -> Response:
        return self._problem(request, "There is no such page", "The address may be mistyped.", 404)

    def _refused(self, request: Request, error: FluxError) -> Response:
        if isinstance(error, Unavailable):
            return self._problem(request, "The store is away", str(error), 503)
        return self._problem(request, "This cannot be shown", str(error), status_of(error))

    def _problem(self, request: Request, title: str, detail: str, status: int) -> Response:
        view = View("problem.html", title, "", {"detail": detail}, status)
        return self._document(request, view, self._site.engine.clock.now(), None)

    # --- streams ---

    async def _stream(self, request: Request, found: Found[Page], send: Send) -> None:
        async def look() -> Shot[bytes]:
            shot = await self._look(request, found)
            content = self._renderer.fragment(
                shot.value, base=request.base, query=request.query, path=request.path
            )
            return Shot(content, shot.at, shot.away)

        headers = [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
        ]
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": http.encoded(headers + security.HEADERS),
            }
        )
        events = self._feeds.watch(
            f"{request.base}{request.path}{request.query}", look, request.headers.get("last-event-id", "")
        )

        async def pump() -> None:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        await _until_gone(pump, request.receive)
        await events.aclose()

    # --- actions ---

    async def _act(self, request: Request) -> Response:
        try:
            form = await request.form()
        except Invalid as error:
            return self._answer(request, Query(()), Done(str(error), ok=False), 413)
        if refusal := security.refusal(request, form):
            return self._answer(request, form, Done(refusal, ok=False), 403)
        if request.path == "/theme":
            response = http.redirect(self._back(request, form))
            theme = form.get("theme")
            response.cookie(
                THEME_COOKIE, theme if theme in THEMES else "", request, age=365 * 86_400, script=True
            )
            return response
        found = ACTIONS.find(request.path)
        if found is None:
            return self._answer(request, form, Done("There is no such action.", ok=False), 404)
        status = 200
        try:
            done = await found.value(self._site, form, found.parts, request)
        except FluxError as error:
            done, status = Done(sentence(error), ok=False), status_of(error)
        except Exception:
            log.exception("action %s failed", request.path)
            done, status = Done("This failed; the dashboard's own log says why.", ok=False), 500
        self._shared.forget()
        return self._answer(request, form, done, status)

    def _answer(self, request: Request, form: Query, done: Done, status: int) -> Response:
        """To our script the words; to a plain browser the page where it was, which shows them once."""
        go = None if done.go is None else request.base + done.go
        if request.by_script:
            answer = http.json_response({"ok": done.ok, "text": done.text, "go": go}, status)
            if go is not None:
                set_flash(answer, request, done)
            return answer
        response = http.redirect(go or self._back(request, form))
        set_flash(response, request, done)
        return response

    def _back(self, request: Request, form: Query) -> str:
        back = form.get("back")
        return back if security.inside(back, request.base) else f"{request.base}/"


async def _until_gone(pump: Callable[[], Awaitable[None]], receive: Receive) -> None:
    """Run ``pump`` until it ends or the browser goes away, whichever is first."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(pump()), asyncio.ensure_future(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def status_of(error: FluxError) -> int:
    """The status that REST gives for the same refusal."""
    for kind, status in (
        (Invalid, 422),
        (NotFound, 404),
        (Conflict, 409),
        (TooDeep, 429),
        (Unavailable, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500


def sentence(error: FluxError) -> str:
    """An error as a person reads it."""
    text = str(error)
    if isinstance(error, Unavailable):
        return f"Nothing was done: {text[:1].lower()}{text[1:]}"
    return text[:1].upper() + text[1:]


def create_dashboard(engine: Engine, *, prefix: str = "", api_url: str | None = None) -> Dashboard:
    """The dashboard on an opened engine.

    ``prefix`` is the path under which browsers see it, when a proxy puts it there; a mount (``root_path``) is noticed
    by itself. ``api_url`` is where people reach REST, for the curl lines that pages show.
    """
    if prefix and not prefix.startswith("/"):
        raise ValueError(f'a prefix starts with a slash: "/{prefix}"')
    return Dashboard(engine, prefix.rstrip("/"), (api_url or "http://localhost:8080").rstrip("/"))
