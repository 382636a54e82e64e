"""What keeps other sites and stored text from acting through a person's browser."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from flux.dashboard.http import Query, Request

CSRF_COOKIE = "flux_csrf"
CSRF_FIELD = "csrf"

HEADERS = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
]
"""On every answer. No inline script or style is allowed, so text that was stored can never become code."""


def token_of(request: Request) -> str | None:
    """The browser's CSRF token, None when it has none yet."""
    token = request.cookies.get(CSRF_COOKIE, "")
    return token if len(token) == 32 and token.isalnum() else None


def new_token() -> str:
    """A token for a browser that has none. It is kept by the browser alone: any process can check it."""
    return secrets.token_hex(16)


def refusal(request: Request, form: Query) -> str | None:
    """Why this form is not acted upon, in words, or None.

    The form must carry the token of the cookie, which another site can neither read nor (SameSite) send. The origin
    is looked at too, since a neighbour under the same domain may be able to plant a cookie.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return "This form was sent from another site, so nothing was done."
    origin = request.headers.get("origin")
    if site is None and origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return "This form was sent from another site, so nothing was done."
    token = token_of(request)
    if token is None or not secrets.compare_digest(token, form.get(CSRF_FIELD)):
        return "This page is too old to act from, so nothing was done. Reload it and try again."
    return None


def inside(location: str, base: str) -> bool:
    """Whether a place to go back to lies within the dashboard, whatever the form says."""
    plain = location.startswith(base + "/") and not location.startswith("//") and "\\" not in location
    return plain and location.isprintable()
