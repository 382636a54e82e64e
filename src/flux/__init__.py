"""Flux: a distributed job queue that starts embedded on SQLite."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.domain.errors import Conflict, FluxError, Invalid, NotFound, TooDeep, Unavailable
    from flux.domain.job import Job, JobState
    from flux.engine.context import Context
    from flux.engine.handler import BadArguments, Cancel, Discard, RetryAfter, Snooze
    from flux.sdk.app import Flux
    from flux.sdk.errors import AccessDenied, DeclarationError, JobCancelled, JobFailed
    from flux.sdk.handle import JobHandle
    from flux.sdk.handler import JobHandler, Request
    from flux.sdk.injection import Depends, Payload
    from flux.sdk.middleware import CallNext, Enqueue

__version__ = "0.1.0"

# Loaded when first asked for: `import flux` and every `import flux.…` stay fast.
_HOMES = {
    "flux.domain.errors": ("Conflict", "FluxError", "Invalid", "NotFound", "TooDeep", "Unavailable"),
    "flux.domain.job": ("Job", "JobState"),
    "flux.engine.context": ("Context",),
    "flux.engine.handler": ("BadArguments", "Cancel", "Discard", "RetryAfter", "Snooze"),
    "flux.sdk.app": ("Flux",),
    "flux.sdk.errors": ("AccessDenied", "DeclarationError", "JobCancelled", "JobFailed"),
    "flux.sdk.handle": ("JobHandle",),
    "flux.sdk.handler": ("JobHandler", "Request"),
    "flux.sdk.injection": ("Depends", "Payload"),
    "flux.sdk.middleware": ("CallNext", "Enqueue"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AccessDenied",
    "BadArguments",
    "CallNext",
    "Cancel",
    "Conflict",
    "Context",
    "DeclarationError",
    "Depends",
    "Discard",
    "Enqueue",
    "Flux",
    "FluxError",
    "Invalid",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobHandler",
    "JobState",
    "NotFound",
    "Payload",
    "Request",
    "RetryAfter",
    "Snooze",
    "TooDeep",
    "Unavailable",
    "__version__",
]


if not TYPE_CHECKING:  # type checkers see the imports above, and a misspelt name is an error to them

    def __getattr__(name):
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'flux' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(home), name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
