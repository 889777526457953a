"""A text as tokens, each with its place for messages."""

from __future__ import annotations

import re
from typing import NoReturn

from graphc import errors
from graphc.ir import Loc

_NAME = "[A-Za-z_][A-Za-z0-9_]*+"
_TERM = f"(?: [0-9]+ | {_NAME} )"
_TOKEN = re.compile(
    r"""\s*+ (?:
      (?P<var>     % [A-Za-z_][A-Za-z0-9_]* )
    | (?P<type>    [A-Za-z_][A-Za-z0-9_]* \[ [-+*A-Za-z0-9_,\s]* \] )
    | (?P<size>    -? TERM (?: [-+*] TERM )+ | - (?!inf\b) NAME )
    | (?P<number>  -? [0-9]+ (?: \.[0-9]* )? (?: [eE][-+]?[0-9]+ )? | -inf\b )
    | (?P<word>    [A-Za-z_][A-Za-z0-9_.]* )
    | (?P<string>  " [^"\\\n]*+ (?: \\[^\n] [^"\\\n]*+ )*+ " )
    | (?P<comment> \# [^\n]* )
    | (?P<mark>    := | [(){}\[\],:=] )
    | (?P<end>     \Z )
    | (?P<bad>     . ) )""".replace("TERM", _TERM).replace("NAME", _NAME),
    re.VERBOSE | re.DOTALL,
)
_SOURCE_LINE = re.compile(r"# ?(.*):([0-9]{1,18})\s*", re.DOTALL)
LOOKAHEAD = 3


class Tokens:
    """The tokens of a text as parallel lists, ending in as many `end` as a parser looks ahead."""

    def __init__(self, text: str):
        self.text = text
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.starts: list[int] = []
        self.locs: dict[int, Loc] = {}
        """The source line in the comment behind a token on the same line, by the token's index."""
        end = 0
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "bad"
            start = match.start(kind)
            if kind == "comment":
                self.comment(match["comment"], same_line="\n" not in text[end:start])
                continue
            if kind == "bad":
                self.fail_at(start, *_bad_character(match[kind]))
            self.append(kind, match[kind], start)
            end = match.end()
        for _ in range(LOOKAHEAD):
            self.append("end", "", len(text))

    def append(self, kind: str, token: str, start: int) -> None:
        self.kinds.append(kind)
        self.texts.append(token)
        self.starts.append(start)

    def comment(self, comment: str, same_line: bool) -> None:
        match = _SOURCE_LINE.fullmatch(comment)
        if match and same_line and self.kinds:
            self.locs[len(self.kinds) - 1] = Loc(match[1], int(match[2]))

    def fail_at(self, position: int, problem: str, repair: str) -> NoReturn:
        line = self.text.count("\n", 0, position) + 1
        begin = self.text.rfind("\n", 0, position) + 1
        stop = self.text.find("\n", position)
        source = self.text[begin : stop if stop >= 0 else len(self.text)]
        column = position - begin + 1
        # A line may hold megabytes of base64: show what is near.
        cut = max(0, column - 70)
        shown = f"    {source[cut : cut + 100]}\n    {' ' * (column - 1 - cut)}^"
        raise errors.ParseError(
            f"line {line}, column {column}: {problem}; {repair}\n{shown}",
            line=line,
            column=column,
            source=source,
        )


def _bad_character(char: str) -> tuple[str, str]:
    if char == '"':
        return "this string does not end", 'close it with " on the same line'
    if char == "%":
        return "% without a name", "write a variable as %x"
    return f"unexpected character {char!r}", "remove it"
