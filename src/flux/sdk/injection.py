"""The mark of a dependency: ``db: Annotated[Session, Depends(get_session)]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from flux.sdk.errors import DeclarationError


class Payload:
    """``Annotated[T, Payload()]``: this parameter is the whole payload of the job, read as ``T``.

    For payloads that are no object of arguments (a list, a text), or a type of your own. It is then the only argument;
    ``Context`` and dependencies may stand beside it.
    """

    __slots__ = ()


Scope = Literal["attempt", "worker"]


class Injected:
    """What ``Depends`` leaves in an annotation or as a default."""

    __slots__ = ("get", "scope")

    def __init__(self, get: Callable[..., Any], scope: Scope) -> None:
        self.get = get
        self.scope = scope

    def __repr__(self) -> str:
        return f"Depends({getattr(self.get, '__qualname__', self.get)!s})"


def Depends(get: Callable[..., Any], *, scope: Scope = "attempt") -> Any:
    """Fill a parameter with what ``get`` gives, instead of from the payload.

    ``get`` is a function or a generator that yields once (what follows the yield runs when the attempt ends, whatever
    its end), asynchronous or not; its own parameters may be dependencies, and one annotated ``Context`` gets the
    attempt. It is called once an attempt, or with ``scope="worker"`` once a worker. Write it as
    ``db: Annotated[Session, Depends(get_session)]``, or as the default of a keyword-only parameter,
    ``*, db: Session = Depends(get_session)``, which spares type checkers the question who gives it.
    """
    if not callable(get):
        raise DeclarationError(f"Depends takes a function or generator, not {get!r}")
    if scope not in ("attempt", "worker"):
        raise DeclarationError(f'scope must be "attempt" or "worker", not {scope!r}')
    return Injected(get, scope)
