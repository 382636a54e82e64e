"""A handler's parameters: what a caller gives, what the payload must hold, what the worker puts in.

The payload of a job is an object of keyword arguments. For each handler one msgspec struct type is made, so that
reading the arguments is one call into C, with the annotations checked on the way.
"""

from __future__ import annotations

import inspect
import operator
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

import msgspec

from flux.domain.errors import Invalid
from flux.domain.request import encode_value
from flux.engine.context import Context
from flux.engine.handler import BadArguments
from flux.sdk.errors import DeclarationError
from flux.sdk.injection import Injected, Payload
from flux.sdk.refusals import lower_first, refusal, stranger
from flux.sdk.values import dec_hook, no_json_form

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def hints_of(function: Callable[..., Any], what: str) -> dict[str, Any]:
    """The annotations of a function, resolved. Names that are local to where it is declared are found too.

    Raises ``DeclarationError`` for an annotation that does not exist at run time.
    """
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:
        pass
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        if not frame.f_globals.get("__name__", "").startswith("flux.sdk."):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    try:
        return typing.get_type_hints(function, localns=names, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{what}: the annotation {error.name!r} is not known where the handler is declared; "
            "import or define it above, outside of TYPE_CHECKING"
        ) from None


class Arguments:
    """The parameters of one handler. ``names`` come from the payload, ``injected`` from dependencies, ``context`` is
    the name of the parameter that takes the ``Context``, ``extra`` the type of ``**kwargs`` (or EMPTY without)."""

    __slots__ = (
        "_decoder", "_every", "_extra", "_open", "_values", "_whole", "context", "defaults", "hints", "injected",
        "keyword_only", "names",
        "positional", "required", "what",
    )  # fmt: skip

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self.what = what
        self.hints = hints_of(function, what)
        self.context: str | None = None
        self.injected: dict[str, Injected] = {}
        self.positional: list[str] = []
        self.keyword_only: list[str] = []
        self._extra: msgspec.json.Decoder[Any] | None = None
        self._whole: str | None = None
        fields: dict[str, tuple[Any, Any]] = {}
        for parameter in inspect.signature(function).parameters.values():
            self._place(parameter, fields)
        self.names = tuple(fields)
        self._open = tuple(name for name in self.positional if name in fields)
        self.defaults = {
            parameter.name: parameter.default
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is not _EMPTY and parameter.name in fields
        }
        self.required = frozenset(name for name, (_, default) in fields.items() if default is _EMPTY)
        self._decoder, self._values = self._reading(fields)
        self._every = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def _place(self, parameter: inspect.Parameter, fields: dict[str, tuple[Any, Any]]) -> None:
        name, hint = parameter.name, self.hints.get(parameter.name, Any)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise DeclarationError(
                f"{self.what}: *{name} cannot be filled, since the payload names its arguments; use a list"
            )
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            _check_type(hint, f"{self.what}: **{name}")
            self._extra = msgspec.json.Decoder(hint, dec_hook=dec_hook)
            return
        (self.positional if parameter.kind in _POSITIONAL else self.keyword_only).append(name)
        injected = injected_by(hint, parameter.default)
        if injected is not None:
            self.injected[name] = injected
        elif is_context(hint):
            if self.context is not None:
                raise DeclarationError(f"{self.what}: both {self.context} and {name} ask for the Context")
            self.context = name
        else:
            _check_type(hint, f"{self.what}: {name}")
            fields[name] = (hint, parameter.default)
            if is_payload(hint):
                self._whole = name

    def _reading(
        self, fields: dict[str, tuple[Any, Any]]
    ) -> tuple[msgspec.json.Decoder[Any], Callable[[Any], tuple[Any, ...]]]:
        """How a payload is decoded, and how the arguments are taken out of that."""
        if self._whole is None:
            struct = _struct(fields, forbid=self._extra is None)
            return msgspec.json.Decoder(struct, dec_hook=dec_hook), _getter(fields)
        if len(fields) > 1 or self._extra is not None:
            raise DeclarationError(
                f"{self.what}: {self._whole} is the whole payload; no other argument is left"
            )
        return msgspec.json.Decoder(fields[self._whole][0], dec_hook=dec_hook), _alone

    # --- the caller's side ---

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The payload of a call as Python values. Raises ``TypeError`` as a call of the function would."""
        if not kwargs and len(args) == len(self.names) == len(self._open):
            return dict(zip(self._open, args, strict=True))
        payload = dict(kwargs)
        if args:
            if len(args) > len(self._open):
                raise TypeError(
                    f"{self.what} takes {len(self._open)} positional arguments, {len(args)} were given"
                )
            for name, value in zip(self._open, args, strict=False):
                if name in payload:
                    raise TypeError(f"{self.what}: {name} was given twice")
                payload[name] = value
        if self._extra is None:
            for name in payload:
                if name not in self.names:
                    raise TypeError(f"{name} {stranger(self.what, self.names)}")
        missing = self.required - payload.keys()
        if missing:
            raise TypeError(f"{self.what}: {', '.join(sorted(missing))} must be given")
        return payload

    def encode(self, payload: Mapping[str, Any]) -> bytes:
        """The payload as JSON. Raises ``Invalid``, naming the argument that has no form in JSON."""
        if self._whole is not None and self._whole in payload:
            try:
                return encode_value(payload[self._whole])
            except ValueError as error:
                raise Invalid.one("payload", str(error)) from None
        return encode_payload(payload) if payload else b"{}"

    # --- the worker's side ---

    def values(self, payload: str | bytes) -> tuple[Any, ...]:
        """The arguments named in ``names``, in that order. Raises ``BadArguments``."""
        try:
            return self._values(self._decoder.decode(payload))
        except Exception as error:
            raise self.refusal(error) from None

    def reader(self) -> tuple[Callable[[str], Any], Callable[[Any], tuple[Any, ...]]]:
        """The two calls behind ``values``, for the hot path."""
        return self._decoder.decode, self._values

    @property
    def collects(self) -> bool:
        """Whether the handler has **kwargs, which take every key without a parameter."""
        return self._extra is not None

    def extras(self, payload: str | bytes) -> dict[str, Any]:
        """The keys that go to **kwargs. Raises ``BadArguments``."""
        assert self._extra is not None
        try:
            every = self._every.decode(payload)
        except Exception as error:
            raise self.refusal(error) from None
        taken: dict[str, Any] = {}
        for name, raw in every.items():
            if name in self.names:
                continue
            if name == self.context or name in self.injected:
                raise BadArguments(f"{name}: is filled by the worker and cannot be given")
            try:
                taken[name] = self._extra.decode(raw)
            except Exception as error:
                raise BadArguments(f"{name}: {lower_first(str(error))}") from None
        return taken

    def keywords(self, payload: str | bytes) -> dict[str, Any]:
        """All arguments of the payload by name. Raises ``BadArguments``."""
        found = dict(zip(self.names, self.values(payload), strict=True))
        if self._extra is not None:
            found |= self.extras(payload)
        return found

    def arrange(self, found: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """All arguments by name as positional and keyword ones; ``found`` is used up."""
        return [found.pop(name) for name in self.positional], found

    def refusal(self, error: Exception) -> BadArguments:
        """What was wrong with a payload, in words for a person."""
        return refusal(error, self.what, self.names)


def is_context(hint: Any) -> bool:
    """Whether an annotation asks for the attempt's context (``Context`` or ``Context | None``)."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if isinstance(hint, type):
        return issubclass(hint, Context)
    return Context in get_args(hint) and set(get_args(hint)) <= {Context, type(None)}


def is_payload(hint: Any) -> bool:
    """Whether an annotation takes the whole payload."""
    return get_origin(hint) is Annotated and any(
        mark is Payload or isinstance(mark, Payload) for mark in get_args(hint)[1:]
    )


def injected_by(hint: Any, default: Any) -> Injected | None:
    """The dependency that fills a parameter: ``Annotated[T, Depends(get)]`` or ``= Depends(get)``."""
    if isinstance(default, Injected):
        return default
    if get_origin(hint) is Annotated:
        return next((mark for mark in get_args(hint)[1:] if isinstance(mark, Injected)), None)
    return None


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """An object of arguments as JSON. Raises ``Invalid``, naming the argument that has no form in JSON."""
    try:
        return encode_value(payload)
    except ValueError as whole:
        for name, value in payload.items():
            try:
                encode_value(value)
            except ValueError as error:
                raise Invalid.one(f"payload.{name}", str(error)) from None
        raise Invalid.one("payload", str(whole)) from None


def _check_type(hint: Any, where: str) -> None:
    """Refuse, when it is declared, a type that can never come out of JSON."""
    try:
        reason = no_json_form(hint)
    except TypeError as error:
        reason = str(error)
    if reason:
        raise DeclarationError(f"{where}: {reason}")


def _struct(fields: Mapping[str, tuple[Any, Any]], forbid: bool) -> type[msgspec.Struct]:
    declared: list[Any] = []
    for name, (hint, default) in fields.items():
        if default is _EMPTY:
            declared.append((name, hint))
        elif default is None or type(default) in (bool, int, float, str, bytes):
            declared.append((name, hint, default))
        else:
            # The function's own default object, as in a plain call; msgspec copies or refuses mutable ones.
            declared.append((name, hint, msgspec.field(default_factory=_constant(default))))
    return msgspec.defstruct(
        "Arguments", declared, kw_only=True, forbid_unknown_fields=forbid, gc=False, eq=False
    )


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _getter(names: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    names = tuple(names)
    if not names:
        return lambda values: ()
    if len(names) == 1:
        single = operator.attrgetter(names[0])
        return lambda values: (single(values),)
    return operator.attrgetter(*names)


def _alone(value: Any) -> tuple[Any, ...]:
    return (value,)
