"""`import flux` gives the public names and costs nothing until one is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import flux

HEAVY = {
    "litestar",
    "httpx",
    "sqlite3",
    "typer",
    "uvicorn",
    "jinja2",
    "pydantic",
    "flux.config",
    "flux.engine.worker",
}


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_every_public_name_is_there() -> None:
    for name in flux.__all__:
        assert getattr(flux, name) is not None
    assert set(dir(flux)) == set(flux.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = flux.Nonsense


def test_import_flux_loads_nothing_of_it() -> None:
    assert not {
        name for name in loaded_after("import flux") if name.startswith(("flux.", "msgspec", "asyncio"))
    }


def test_an_application_loads_no_server_and_no_store() -> None:
    assert loaded_after("from flux import Flux, Context; Flux('sqlite:///x.db')") & HEAVY == set()
