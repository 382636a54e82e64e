"""What an action did, said once on the next page: kept by the browser, so that any process can say it."""

from __future__ import annotations

from urllib.parse import unquote

from flux.dashboard.http import Request, Response
from flux.dashboard.site import Done

COOKIE = "flux_flash"
LONGEST = 800


def set_flash(response: Response, request: Request, done: Done) -> None:
    """Let the next page say it."""
    response.cookie(COOKIE, ("+" if done.ok else "-") + done.text[:LONGEST], request, age=60)


def read_flash(request: Request) -> tuple[str, bool] | None:
    """(words, whether it went well), or None."""
    raw = unquote(request.cookies.get(COOKIE, ""))
    return (raw[1:], raw[0] == "+") if len(raw) > 1 else None


def clear_flash(response: Response, request: Request) -> None:
    """It has been said."""
    response.cookie(COOKIE, "", request, age=0)
