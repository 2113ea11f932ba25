"""Follows a JSON object character by character."""

import enum
import re

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
LITERALS = ("true", "false", "null")
SPACE = " \t\r\n"
CLOSERS = {"{": "}", "[": "]"}


class Expected(enum.Enum):
    """What may come next."""

    VALUE = enum.auto()
    VALUE_OR_END = enum.auto()
    """After the start of an array."""
    KEY = enum.auto()
    KEY_OR_END = enum.auto()
    """After the start of an object."""
    COLON = enum.auto()
    SEPARATOR = enum.auto()
    """A comma or the end of the object or array."""
    IN_KEY = enum.auto()
    IN_STRING = enum.auto()
    IN_WORD = enum.auto()
    """In a number, true, false or null."""
    NOTHING = enum.auto()
    """The object is complete."""


class Boundary(enum.Enum):
    """What the latest character is to the members of the outermost object."""

    NONE = enum.auto()
    KEY_START = enum.auto()
    KEY_END = enum.auto()
    VALUE_START = enum.auto()
    VALUE_END = enum.auto()
    """The last character of a string, object or array; or the one after a number, true, false or null."""


class JsonScanner:
    """One JSON object (RFC 8259). A control character in a string is accepted: models write line breaks there."""

    def __init__(self) -> None:
        self.expected = Expected.VALUE
        self.boundary = Boundary.NONE
        self._closers: list[str] = []  # of the objects and arrays that are open
        self._word = ""
        self._escape = ""  # an escape sequence that has begun

    @property
    def is_complete(self) -> bool:
        return self.expected is Expected.NOTHING

    @property
    def is_in_string(self) -> bool:
        return self.expected in {Expected.IN_KEY, Expected.IN_STRING}

    def push(self, char: str) -> None:
        """Raises ValueError if the character cannot come here."""
        self.boundary = Boundary.NONE
        if self.is_in_string:
            self._push_string(char)
        elif self.expected is Expected.IN_WORD and char not in SPACE + ",]}":
            self._word += char
            if len(self._word) > 400:
                raise ValueError("a number is too long")
        else:
            self._end_word()
            if char not in SPACE:
                self._push_structure(char)

    def _push_string(self, char: str) -> None:
        if self._escape:
            self._escape += char
            self._check_escape()
        elif char == "\\":
            self._escape = char
        elif char == '"':
            is_key = self.expected is Expected.IN_KEY
            self.expected = Expected.COLON if is_key else Expected.SEPARATOR
            self._mark(Boundary.KEY_END if is_key else Boundary.VALUE_END)

    def _check_escape(self) -> None:
        kind, digits = self._escape[1], self._escape[2:]
        if kind not in '"\\/bfnrtu' or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            raise ValueError(f"{self._escape!r} is no escape sequence")
        if kind != "u" or len(digits) == 4:
            self._escape = ""

    def _end_word(self) -> None:
        if self.expected is Expected.IN_WORD:
            if self._word not in LITERALS and not NUMBER.fullmatch(self._word):
                raise ValueError(f"{self._word!r} is no value")
            self._word = ""
            self.expected = Expected.SEPARATOR
            self._mark(Boundary.VALUE_END)

    def _push_structure(self, char: str) -> None:
        match self.expected:
            case Expected.VALUE_OR_END | Expected.KEY_OR_END | Expected.SEPARATOR if char == self._closers[-1]:
                self._closers.pop()
                self.expected = Expected.SEPARATOR if self._closers else Expected.NOTHING
                self._mark(Boundary.VALUE_END)
            case Expected.VALUE | Expected.VALUE_OR_END:
                self._start_value(char)
            case Expected.KEY | Expected.KEY_OR_END if char == '"':
                self.expected = Expected.IN_KEY
                self._mark(Boundary.KEY_START)
            case Expected.COLON if char == ":":
                self.expected = Expected.VALUE
            case Expected.SEPARATOR if char == ",":
                self.expected = Expected.KEY if self._closers[-1] == "}" else Expected.VALUE
            case _:
                raise ValueError(f"{char!r} cannot come here")

    def _start_value(self, char: str) -> None:
        if not self._closers and char != "{":
            raise ValueError(f"{char!r} does not begin an object")
        self._mark(Boundary.VALUE_START)
        if char in CLOSERS:
            self._closers.append(CLOSERS[char])
            self.expected = Expected.KEY_OR_END if char == "{" else Expected.VALUE_OR_END
        elif char == '"':
            self.expected = Expected.IN_STRING
        elif char in "-0123456789tfn":
            self._word = char
            self.expected = Expected.IN_WORD
        else:
            raise ValueError(f"{char!r} does not begin a value")

    def _mark(self, boundary: Boundary) -> None:
        if len(self._closers) == 1:
            self.boundary = boundary


def escaped(char: str) -> str:
    """A character of a string; a control character as its escape sequence."""
    return char if char >= " " else {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char, f"\\u{ord(char):04x}")
