"""From a call to the payload and back to the handler's arguments."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux import BadArguments, Context, DeclarationError, Flux, Invalid, Payload
from tests.unit.sdk.conftest import attempt


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Address:
    city: str
    since: datetime


class Order(msgspec.Struct):
    id: UUID
    total: Decimal


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName")
    born: datetime

    model_config = pydantic.ConfigDict(populate_by_name=True)


async def round_trip(flux: Flux, hint: Any, value: Any) -> Any:
    """The value after a call with it was encoded, kept and decoded."""

    async def take(value: hint) -> Any:  # type: ignore[valid-type]  # made for the test
        return value

    handler = flux.job(take)
    return await attempt(handler, msgspec.json.decode(bytes(handler.request(value).job.payload)))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3),
        (float, 3),
        (str, "ä\u2028"),
        (bytes, b"\x00\xff"),
        (list[int], [1, 2]),
        (tuple[int, str], (1, "a")),
        (set[str], {"a"}),
        (dict[int, str], {1: "a"}),
        (Colour, Colour.RED),
        (Literal["a", "b"], "b"),
        (datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (timedelta, timedelta(days=1, seconds=2)),
        (UUID, UUID(int=7)),
        (Decimal, Decimal("1.10")),
        (Address, Address("Bonn", datetime(2026, 1, 1, tzinfo=UTC))),
        (list[Address], [Address("Bonn", datetime(2026, 1, 1, tzinfo=UTC))]),
        (Order, Order(UUID(int=1), Decimal("9.99"))),
        (Person, Person(fullName="Ada", born=datetime(1815, 12, 10, tzinfo=UTC))),
        (list[Person], [Person(fullName="Ada", born=datetime(1815, 12, 10, tzinfo=UTC))]),
        (int | None, None),
    ],
)
async def test_a_value_comes_back_as_what_it_was(flux: Flux, hint: Any, value: Any) -> None:
    assert await round_trip(flux, hint, value) == value


_flux = Flux("sqlite:////nowhere/never-opened.db")


@_flux.job
async def anything(value: Any) -> Any:
    return value


@given(value=st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**53), 2**53), st.lists))
async def test_any_json_comes_back(value: Any) -> None:
    assert await attempt(anything, msgspec.json.decode(bytes(anything.request(value).job.payload))) == value


async def test_the_context_may_stand_anywhere(flux: Flux) -> None:
    @flux.job
    async def last(to: str, ctx: Context) -> Any:
        return to, ctx.job_id

    @flux.job
    async def keyword(to: str, *, ctx: Context | None = None) -> Any:
        return to, ctx and ctx.job_id

    assert await attempt(last, {"to": "x"}) == ("x", "job-1")
    assert await attempt(keyword, {"to": "x"}) == ("x", "job-1")


async def test_defaults_are_the_functions_own(flux: Flux) -> None:
    given = ["a"]

    @flux.job
    async def take(names: list[str] = given, *, size: int = 3, colour: Colour = Colour.RED) -> Any:
        return names, size, colour

    names, size, colour = await attempt(take)
    assert names is given
    assert (size, colour) == (3, Colour.RED)


async def test_keywords_take_what_has_no_parameter(flux: Flux) -> None:
    @flux.job
    async def take(first: int, /, second: str = "s", **rest: float) -> Any:
        return first, second, rest

    assert await attempt(take, {"first": 1, "a": 2, "b": 2.5}) == (1, "s", {"a": 2, "b": 2.5})
    with pytest.raises(BadArguments, match=r"^a: expected `float`, got `str`$"):
        await attempt(take, {"first": 1, "a": "x"})


async def test_the_whole_payload(flux: Flux) -> None:
    @flux.job
    async def take(ctx: Context, numbers: Annotated[list[int], Payload()]) -> int:
        return sum(numbers)

    assert await attempt(take, [1, 2, 3]) == 6
    assert bytes(take.request([1, 2]).job.payload) == b"[1,2]"
    with pytest.raises(BadArguments, match=r"^\[1\]: expected `int`, got `str`$"):
        await attempt(take, [1, "x"])


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "to: is missing"),
        ({"to": 1}, "to: expected `str`, got `int`"),
        ({"to": "a", "subject": "b"}, "subject: is not an argument of send; it takes to, address, person"),
        ([], "the payload must be an object of arguments: expected `object`, got `array`"),
        ({"to": "a", "address": {"city": 3}}, "address.city: expected `str`, got `int`"),
        ({"to": "a", "address": {"city": "x"}}, "address.since: is missing"),
        ({"to": "a", "person": {"fullName": "x"}}, "person: born: Field required"),
        ({"to": "a", "person": 3}, "person: value: Input should be a valid dictionary or instance of Person"),
    ],
)
async def test_what_does_not_fit_says_where_and_why(flux: Flux, payload: object, message: str) -> None:
    @flux.job
    async def send(
        ctx: Context, to: str, address: Address | None = None, person: Person | None = None
    ) -> None:
        raise AssertionError("it must not run")

    with pytest.raises(BadArguments) as refused:
        await attempt(send, payload)
    assert str(refused.value) == message


async def test_a_context_cannot_be_sent(flux: Flux) -> None:
    @flux.job
    async def take(ctx: Context, **rest: Any) -> None: ...

    with pytest.raises(BadArguments, match="ctx: is filled by the worker"):
        await attempt(take, {"ctx": 1})


def test_a_wrong_call_is_refused_as_a_call_of_the_function_would_be(flux: Flux) -> None:
    @flux.job
    async def send(ctx: Context, to: str, *, subject: str = "") -> None: ...

    for args, kwargs, message in [
        ((), {}, "send: to must be given"),
        (("a", "b"), {}, "send takes 1 positional arguments, 2 were given"),
        (("a",), {"to": "b"}, "send: to was given twice"),
        (("a",), {"subjekt": "b"}, "subjekt is not an argument of send; it takes to, subject"),
    ]:
        with pytest.raises(TypeError) as refused:
            send.request(*args, **kwargs)  # type: ignore[arg-type]  # the point
        assert str(refused.value) == message


@pytest.mark.parametrize(("value", "message"), [(object(), "object has no form"), (float("nan"), "NaN")])
def test_a_value_without_json_is_refused_by_name(flux: Flux, value: object, message: str) -> None:
    @flux.job
    async def take(a: Any, b: Any = None) -> None: ...

    with pytest.raises(Invalid, match=message) as refused:
        take.request(a=1, b=value)
    assert [error.field for error in refused.value.errors] == ["payload.b"]


def test_types_that_never_come_out_of_json_are_refused_where_declared(flux: Flux) -> None:
    class Session: ...

    async def direct(session: Session) -> None: ...
    async def nested(sessions: list[dict[str, Session]]) -> None: ...
    async def two(value: Address | Order) -> None: ...
    async def many(*values: int) -> None: ...
    async def contexts(a: Context, b: Context) -> None: ...
    async def whole(a: Annotated[int, Payload()], b: int) -> None: ...

    for function, message in [
        (direct, r"session: Session cannot be made from JSON.*Depends"),
        (nested, r"sessions: Session cannot be made from JSON"),
        (two, r"value: this annotation cannot be read from JSON"),
        (many, r"\*values cannot be filled"),
        (contexts, r"both a and b ask for the Context"),
        (whole, r"a is the whole payload"),
    ]:
        with pytest.raises(DeclarationError, match=message):
            flux.job(function)


def test_an_annotation_that_does_not_exist_is_refused(flux: Flux) -> None:
    async def take(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DeclarationError, match=r"'Nowhere' is not known"):
        flux.job(take)
