"""Views as HTML: a whole document for the first paint, and the part that a stream replaces."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from flux.dashboard import words
from flux.dashboard.assets import Assets
from flux.dashboard.http import Query
from flux.dashboard.search import quoted
from flux.dashboard.security import CSRF_FIELD
from flux.dashboard.site import View

TABS = (
    ("overview", "/", "Overview", "o"),
    ("jobs", "/jobs", "Jobs", "j"),
    ("queues", "/queues", "Queues", "q"),
    ("workers", "/workers", "Workers", "w"),
    ("schedules", "/schedules", "Schedules", "s"),
)
"""(name, path, label, the letter after g)."""


class Renderer:
    """The templates, compiled once."""

    def __init__(self, assets: Assets, api_url: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("flux.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            count=words.count,
            short_count=words.short_count,
            span=words.span,
            iso=words.iso,
            clock_time=words.clock_time,
            short_id=words.short_id,
            coloured=words.coloured,
            pretty=words.pretty,
            state=words.state_mark,
            icon=words.icon,
            look=lambda state: words.LOOKS.get(state, ("off", "ring"))[0],
            term=lambda field, value: f"{field}:{quoted(value)}",
            shape=lambda state: words.LOOKS.get(state, ("off", "ring"))[1],
        )
        self._environment.globals.update(
            plural=words.plural,
            tabs=TABS,
            asset_version=assets.version,
            api_url=api_url,
            csrf_field=CSRF_FIELD,
        )

        # Compiled now, so that the first viewer does not wait for it.
        for name in self._environment.list_templates(extensions=["html"]):
            self._environment.get_template(name)

    def document(
        self, view: View, *, base: str, query: Query, path: str, csrf: str, theme: str, flash: tuple[str, bool] | None,
        now: int, at: int, away: str | None,
    ) -> bytes:  # fmt: skip
        """The whole page."""
        return self._render(
            view, "document.html", base=base, query=query, path=path, csrf=csrf, theme=theme, flash=flash,
            now=now, at=at, away=away,
        )  # fmt: skip

    def fragment(self, view: View, *, base: str, query: Query, path: str) -> bytes:
        """The content alone, the same bytes for every viewer: ages and tokens are filled in by the browser."""
        return self._render(view, "fragment.html", base=base, query=query, path=path, csrf="", now=None)

    def _render(self, view: View, layout: str, **more: Any) -> bytes:
        base, now = more["base"], more["now"]
        return (
            self._environment.get_template(view.template)
            .render(
                layout=layout,
                view=view,
                static=f"{base}/static/{self._environment.globals['asset_version']}",
                here=f"{base}{more['path']}{more['query']}",
                ago=lambda us: words.moment(us, now, "ago"),
                until=lambda us: words.moment(us, now, "in"),
                during=lambda us: words.moment(us, now, "for"),
                **more,
                **view.data,
            )
            .encode("utf-8", "replace")
        )
