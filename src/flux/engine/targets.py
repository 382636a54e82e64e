"""How a child process finds a handler again that its worker has: by import, once."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from flux.engine.handler import Handler


def main_module() -> tuple[str | None, str | None]:
    """How this process's ``__main__`` can be loaded elsewhere: (module name, path of the script)."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return spec.name, None
    path = getattr(main, "__file__", None)
    return None, path if isinstance(path, str) else None


class Targets:
    """Handlers by target, imported when first asked for.

    ``module:attribute`` names an object with a ``handler``; ``module:attribute#type`` an application with a mapping
    ``handlers`` from types to such objects. A target in ``__main__`` (the application was started as a script or with
    ``python -m``) is found as multiprocessing's *spawn* does: the script is run once more under the name
    ``__mp_main__``, so what must not run again belongs under ``if __name__ == "__main__":``.
    """

    def __init__(self, main_name: str | None, main_path: str | None) -> None:
        self._main_name = main_name
        self._main_path = main_path
        self._main: ModuleType | None = None
        self._known: dict[str, Handler] = {}

    def known(self, target: str) -> bool:
        """Whether it has been imported already."""
        return target in self._known

    def find(self, target: str) -> Handler:
        """The handler. Raises whatever its module raises, ``LookupError`` where there is none."""
        found = self._known.get(target)
        if found is None:
            found = self._known[target] = self._look_up(target)
        return found

    def _look_up(self, target: str) -> Handler:
        place, _, kind = target.partition("#")
        name, _, attribute = place.partition(":")
        thing: Any = self._script() if name == "__main__" else importlib.import_module(name)
        for step in attribute.split("."):
            try:
                thing = getattr(thing, step)
            except AttributeError:
                raise LookupError(
                    f"a child process does not find the handler {target}: no {attribute!r} in {name} "
                    "(an isolated handler must stand at the top of its module)"
                ) from None
        if kind:
            handlers = getattr(thing, "handlers", None)
            if isinstance(handlers, Mapping):
                thing = handlers.get(kind)
        handler = thing if isinstance(thing, Handler) else getattr(thing, "handler", None)
        if not isinstance(handler, Handler):
            raise LookupError(f"a child process does not find the handler {target}: {thing!r} is none")
        return handler

    def _script(self) -> ModuleType:
        if self._main is not None:
            return self._main
        if self._main_name is not None:
            values = runpy.run_module(self._main_name, run_name="__mp_main__", alter_sys=True)
        elif self._main_path is not None:
            values = runpy.run_path(self._main_path, run_name="__mp_main__")
        else:
            raise LookupError(
                "a child process cannot load the handlers of an interactive session: put them in a file"
            )
        module = ModuleType("__mp_main__")
        module.__dict__.update(values)
        # As pickle and multiprocessing in handlers expect it: the script's classes are found under both names.
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module
        self._main = module
        return module
