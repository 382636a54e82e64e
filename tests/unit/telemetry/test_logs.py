"""Lines for people and for machines."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest

from flux.telemetry.logs import HumanLines, JsonLines, configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("flux")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:], level, ours_level = before
    root.setLevel(level)
    ours.setLevel(ours_level)


def written(level: str = "info", as_json: bool = False) -> tuple[io.StringIO, logging.Logger]:
    out = io.StringIO()
    configure_logging(level, as_json, out)
    return out, logging.getLogger("flux.test")


def test_a_line_for_people() -> None:
    out, logger = written()
    logger.warning("%d jobs\nof a worker", 3, extra={"queue": "q"})
    assert out.getvalue().endswith(" warning flux.test  3 jobs\n    of a worker queue=q\n")
    assert "\x1b" not in out.getvalue()


@pytest.fixture
def somewhere_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host whose clock shows another time than UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("somewhere_else")
def test_lines_of_hosts_in_different_zones_can_be_compared() -> None:
    record = logging.makeLogRecord(
        {"created": 1_732_476_834.0625, "levelname": "INFO", "name": "flux.test", "msg": "here"}
    )
    assert HumanLines().format(record) == "2024-11-24T19:33:54.062Z info flux.test  here"
    assert json.loads(JsonLines().format(record))["at"] == "2024-11-24T19:33:54.062500Z"


def test_a_line_for_machines() -> None:
    out, logger = written(as_json=True)
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("it broke\nhere", extra={"job": {"id": 1}, "odd": {1, 2}})
    (line,) = out.getvalue().splitlines()
    record = json.loads(line)
    assert record["message"] == "it broke\nhere"
    assert (record["level"], record["logger"], record["job"]) == ("error", "flux.test", {"id": 1})
    assert record["at"].endswith("Z")
    assert "ValueError: why" in record["traceback"]


def test_no_value_loses_a_line() -> None:
    class Nasty:
        def __str__(self) -> str:
            return "\ud800"

    out, logger = written(as_json=True)
    logger.warning("half a pair %s", "\ud800", extra={"nasty": Nasty()})
    assert "half a pair" in json.loads(out.getvalue())["message"]


def test_levels_hold_for_ours_and_others_are_quiet() -> None:
    out, logger = written("debug")
    logger.debug("ours")
    logging.getLogger("somebody.else").info("theirs")
    assert "ours" in out.getvalue()
    assert "theirs" not in out.getvalue()
    with pytest.raises(ValueError, match="levels are"):
        configure_logging("loud")


def test_the_last_call_holds() -> None:
    first, _ = written()
    second, logger = written("error")
    logger.error("once")
    logger.warning("not at all")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
