"""Chunk handlers: one call for many jobs, each of them one item.

``async def index(items: list[Document]) -> list[dict | Exception] | None``: an item is the payload of one job, and the
answer has one outcome for each, in order; None means that all succeeded. A first parameter ``list[Context]`` gets the
contexts. A payload that does not fit fails by itself and is left out of the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

import msgspec

from flux.domain.errors import Invalid
from flux.domain.request import encode_value
from flux.sdk.arguments import encode_payload, hints_of, injected_by, is_context
from flux.sdk.errors import DeclarationError
from flux.sdk.injection import Injected
from flux.sdk.refusals import refusal
from flux.sdk.values import dec_hook, no_json_form

_LISTS = (list, Sequence)


class ChunkArguments:
    """The parameters of a chunk handler: perhaps the contexts, the items, perhaps dependencies."""

    __slots__ = ("_decoder", "hints", "injected", "item", "takes_contexts", "what")

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self.what = what
        self.hints = hints_of(function, what)
        self.injected: dict[str, Injected] = {}
        plain: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            injected = injected_by(self.hints.get(parameter.name), parameter.default)
            if injected is not None:
                self.injected[parameter.name] = injected
            else:
                plain.append(parameter)
        lists = [self._of(parameter) for parameter in plain]
        self.takes_contexts = bool(lists) and is_context(lists[0])
        if self.takes_contexts:
            lists = lists[1:]
        if len(lists) != 1:
            raise DeclarationError(
                f"{what}: a chunk handler takes one list of items, such as items: list[Document], "
                "and perhaps a list[Context] before it"
            )
        self.item = lists[0]
        reason = no_json_form(self.item)
        if reason:
            raise DeclarationError(f"{what}: {reason}")
        self._decoder = msgspec.json.Decoder(self.item, dec_hook=dec_hook)

    def _of(self, parameter: inspect.Parameter) -> Any:
        hint = self.hints.get(parameter.name)
        if hint is list:
            return Any
        if get_origin(hint) not in _LISTS or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            raise DeclarationError(
                f"{self.what}: {parameter.name} of a chunk handler must be a list, such as list[Document]"
            )
        return get_args(hint)[0]

    def read(self, payload: str) -> Any:
        """The item of one job. Raises ``BadArguments``."""
        try:
            return self._decoder.decode(payload)
        except Exception as error:
            raise refusal(error, self.what, self.names) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of an item, where its type says them."""
        fields: Any = getattr(self.item, "__struct_fields__", ()) or getattr(
            self.item, "__dataclass_fields__", ()
        )
        return tuple(fields)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The item of a call: the one positional argument, or the keywords as an object."""
        if args and (kwargs or len(args) > 1):
            raise TypeError(f"{self.what} takes one item, or its fields by name")
        return args[0] if args else dict(kwargs)

    def encode(self, payload: Any) -> bytes:
        """The item as JSON. Raises ``Invalid``."""
        if isinstance(payload, Mapping):
            return encode_payload(payload)
        try:
            return encode_value(payload)
        except ValueError as error:
            raise Invalid.one("payload", str(error)) from None
