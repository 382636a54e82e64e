"""The tokens of the Common Expression Language: enough to see where an expression ends and which names it uses.

Whether the tokens make sense together is for the CEL parser to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

Kind = Literal["name", "string", "number", "symbol", "bad"]

_TOKEN: Final = re.compile(
    r"""
    (?P<space>(?:[ \t\r\n\f]|//[^\n]*)+)
  | (?P<string>
        (?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')
      | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^\\"\r\n])*"|'(?:\\.|[^\\'\r\n])*')
    )
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9](?:[eE][+-]?[0-9]+|[0-9A-Za-z]|\.[0-9])*|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
  | (?P<symbol>&&|\|\||[=!<>]=|[-+*/%<>!?:,.()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One token; ``at`` is where it begins in the text. A ``bad`` one can begin no token of CEL."""

    kind: Kind
    text: str
    at: int

    @property
    def end(self) -> int:
        """Where the text goes on."""
        return self.at + len(self.text)


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """The tokens of a text, without spaces and comments. A bad one, of one character, is the last."""
    at = start
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            yield Token("bad", text[at], at)
            return
        kind = found.lastgroup
        if kind != "space":
            yield Token(kind, found[0], at)  # type: ignore[arg-type]  # the groups are named after the kinds
        at = found.end()
