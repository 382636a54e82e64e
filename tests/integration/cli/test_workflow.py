"""`flux workflow`: what it says of a definition, and how it reads one."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.cli.conftest import Flux

GOOD = """
name: coins
steps:
  flip-coin: {type: flip}
  heads:
    type: echo
    needs: [flip-coin]
    when: "${{ steps['flip-coin'].output == 'heads' }}"
  after:
    type: echo
    needs:
      - step: heads
        on: [succeeded, skipped]   # a word of YAML 1.1, which makes it a boolean
    payload: {country: no, day: 2026-11-24, number: 010}
"""


@pytest.fixture
def definition(home: Path, request: pytest.FixtureRequest) -> Any:
    """Write a file and return its name."""

    def write(text: str, name: str = "workflow.yaml") -> str:
        (home / name).write_text(text)
        return name

    return write


def typed_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_good_definition(flux: Flux, definition: Any) -> None:
    answer = flux("workflow", "check", definition(GOOD))
    assert (answer.code, answer.out, answer.err) == (0, "OK  coins: 3 steps, 2 edges, 3 deep\n", "")
    document = flux("workflow", "check", "workflow.yaml", "--json").json
    assert document == {"name": "coins", "steps": 3, "edges": 2, "depth": 3, "digest": document["digest"]}


def test_the_same_as_json_and_from_standard_input(
    flux: Flux, definition: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {
        "name": "coins",
        "steps": {
            "flip-coin": {"type": "flip"},
            "heads": {
                "type": "echo",
                "needs": ["flip-coin"],
                "when": "${{ steps['flip-coin'].output == 'heads' }}",
            },
            "after": {
                "type": "echo",
                "needs": [{"step": "heads", "on": ["succeeded", "skipped"]}],
                "payload": {"country": "no", "day": "2026-11-24", "number": 10},
            },
        },
    }
    text = msgspec.json.encode(same).decode()
    by_file = flux("workflow", "check", definition(text, "workflow.json"), "--json").json
    assert by_file == flux("workflow", "check", definition(GOOD), "--json").json
    for typed in (text, GOOD):
        typed_in(monkeypatch, typed)
        assert flux("workflow", "check", "-", "--json").json == by_file


def test_every_refusal_on_a_line_of_its_own(flux: Flux, definition: Any) -> None:
    name = definition(
        "name: w\nsteps:\n  a: {type: t, needs: [b]}\n  b: {type: t, needs: [a], priority: 11}\n"
    )
    answer = flux("workflow", "check", name)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        "steps.b.priority: must be between 1 and 10; 10 runs first",
        "steps.a.needs: these steps wait for each other (each needs the next): a -> b -> a",
    ]
    answer = flux("workflow", "check", name, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert [error["field"] for error in msgspec.json.decode(answer.err)["errors"]] == [
        "steps.b.priority",
        "steps.a.needs",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "w.yaml",
            "a: &x [1]\nb: *x\n",
            "uses an anchor or alias (& or *) on line 1, which is not allowed here: write it out",
        ),
        ("w.yaml", "a: 1\nb: 2\na: 3\n", "is not YAML: the key 'a' comes twice (line 3, column 1)"),
        ("w.yaml", "a: [1\n", "is not YAML: did not find expected ',' or ']' (line 2, column 1)"),
        ("w.yaml", "a: 1\n---\nb: 1\n", "is not YAML: but found another document"),
        ("w.yaml", "? [1]\n: 2\n", "is not YAML: a key must be a string (line 1, column 3)"),
        (
            "w.yaml",
            "b: 1\na: !!timestamp x\n",
            "uses a tag (!) on line 2, which is not allowed here: write it out",
        ),
        ("w.yaml", "[" + "1," * 1_000_001, "has more than 1000000 values; JSON may have as many as fit"),
        ("w.yaml", "[" * 300, "is nested too deep"),
        ("w.json", '{"a": 1, "a": 2}', "has the key 'a' twice in one object"),
        ("w.json", '{"a": }', "is not JSON: "),
        ("w.json", "[" * 100_000, "is nested too deep"),
        ("w.txt", "a: 1", "ends neither in .json nor in .yaml; give it one of them, or pass it on as -"),
        ("w.yaml", "a: " + "x" * (16 << 20), "the limit is 16777216 (FLUX_MAX_DEFINITION)"),
    ],
)
def test_a_file_that_is_no_definition(flux: Flux, definition: Any, name: str, text: str, words: str) -> None:
    answer = flux("workflow", "check", definition(text, name))
    assert answer.code == 2
    assert answer.err.startswith(f"Error: {name} ")
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_a_file_that_cannot_be_read(flux: Flux, home: Path) -> None:
    assert (
        flux("workflow", "check", "none.yaml").err
        == "Error: none.yaml cannot be read: No such file or directory\n"
    )
    (home / "latin.yaml").write_bytes(b"name: \xe9")
    assert (
        flux("workflow", "check", "latin.yaml").err
        == "Error: latin.yaml is not UTF-8: byte 7 cannot be read\n"
    )


def test_the_schema_is_one_json_document(flux: Flux) -> None:
    answer = flux("workflow", "schema")
    assert answer.code == 0
    assert set(answer.json["properties"]) >= {"name", "steps", "output", "on_exit"}  # type: ignore[call-overload]


RUN = """
name: pair
input: {n: 1}
steps:
  first:  {type: echo, payload: {n: "${{ input.n }}"}}
  second: {type: echo, payload: {m: "${{ steps.first.output.n + 1 }}"}}
output: "${{ steps.second.output }}"
"""


def test_a_run_is_made_listed_shown_and_cancelled(flux: Flux, definition: Any) -> None:
    assert flux("workflow", "list").code == 3  # nothing is there to look at
    made = flux("workflow", "run", definition(RUN), "--input", '{"n": 5}', "--json").json
    assert (made["state"], made["input"]) == ("running", {"n": 5})
    id = str(made["id"])
    assert f"{id}  pair  running" in flux("workflow", "list").out
    assert flux("workflow", "list", "--state", "failed").out == "no workflows\n"
    shown = flux("workflow", "show", id)
    assert "It waits for first (available)." in shown.out
    late = flux("workflow", "run", "workflow.yaml", "--wait", "0s")
    assert (late.code, "still running after 0s" in late.err) == (1, True)
    assert flux("workflow", "cancel", id, "--reason", "enough").code == 0
    cancelled = flux("workflow", "show", id, "--json").json
    assert cancelled["cancel_requested"] is True
    assert [step["state"] for step in cancelled["steps"]] == ["cancelled", "cancelled"]  # type: ignore[attr-defined]
    plain = flux("workflow", "run", definition(RUN.rpartition("output:")[0]), "--json").json
    assert flux("workflow", "cancel", str(plain["id"])).code == 0
    again = flux("workflow", "cancel", str(plain["id"]))
    assert (again.code, "cancelled" in again.err) == (1, True)
    assert flux("workflow", "show", "nothing").code == 1


def test_a_run_that_cannot_be_is_refused(flux: Flux, definition: Any) -> None:
    answer = flux("workflow", "run", definition("name: w\nsteps: {a: {wait_for: signal, signal: ok}}\n"))
    assert answer.code == 2
    assert "cannot be run yet" in answer.err
    assert flux("workflow", "run", definition(RUN), "--input", "{").code == 2
