"""The text of a file, a piece at a time: the whole can take four times the memory that its bytes take."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from pipeline.data.own.table import LONGEST_ROW
from pipeline.schema import LabError

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What files in these encodings start with; the mark of UTF-32 starts with that of UTF-16."""
_HEAD = 400_000
"""Bytes of the start."""


def encoding_of(name: str, file: BinaryIO) -> str:
    """UTF-8, or UTF-16 or UTF-32 with its mark; raises ``LabError`` for what cannot be any."""
    file.seek(0)
    start = file.read(4)
    encoding = next((each for mark, each in _MARKS.items() if start.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in start:
        raise LabError(f"{name} is no text, or UTF-16 without its mark. Save the file as UTF-8.")
    return encoding


def open_text(name: str, file: BinaryIO, newline: str) -> io.TextIOWrapper:
    """The whole text; ``newline`` as for ``open``."""
    encoding = encoding_of(name, file)
    file.seek(0)
    return io.TextIOWrapper(file, encoding, newline=newline)


def head(name: str, file: BinaryIO) -> str:
    """The start of the text."""
    encoding = encoding_of(name, file)
    file.seek(0)
    return file.read(_HEAD).decode(encoding, "ignore")


def not_decoded(name: str, file: BinaryIO) -> LabError:
    """Why a text cannot be decoded; where it should be UTF-8, with the line."""
    encoding = encoding_of(name, file)
    if encoding != "utf-8-sig":
        return LabError(f"{name} starts like {encoding.upper()}, and is damaged. Save the file as UTF-8.")
    file.seek(0)
    for number, line in enumerate(file, start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            where = f"Line {number:,} of {name} is not UTF-8 (byte {line[error.start]:#04x})"
            return LabError(f"{where}. Save the file as UTF-8.")
    return LabError(f"{name} is not UTF-8. Save the file as UTF-8.")


class Lines:
    """The lines of a text. Raises ``LabError`` where a row, of one or more lines, is longer than any may be.

    Attributes:
        row: the number of the line where the row starts, from 1.
    """

    def __init__(self, name: str, text: io.TextIOWrapper, mend: str) -> None:
        """``mend`` says what else than leaving it out can mend a row that is too long."""
        self._name, self._text, self._mend = name, text, mend
        self.row = 1
        self._number = self._size = 0

    def __iter__(self) -> Lines:
        """Itself."""
        return self

    def __next__(self) -> str:
        """The next line with its end."""
        line = self._text.readline(LONGEST_ROW - self._size + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self._size += len(line)
        if self._size > LONGEST_ROW:
            raise too_long(self._name, self.row, self._mend)
        return line

    def end_row(self, empty: bool = False) -> None:
        """Let the next row start with the next line; to that the characters of ``empty`` rows count."""
        self.row, self._size = self._number + 1, self._size if empty else 0


def too_long(name: str, line: int, mend: str = "") -> LabError:
    """What is wrong where a row is longer than any may be."""
    return LabError(
        f"The row that starts in line {line:,} of {name} has more than {LONGEST_ROW:,} characters. "
        f"Leave it out{mend}."
    )
