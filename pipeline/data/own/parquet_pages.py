"""What a parquet file holds, from its own bytes, before pyarrow reads it.

The description at the end of a file can claim any size for the pages. pyarrow makes room for what the pages
themselves claim, and ends Python if it is asked for some parts of a description that is not as it expects.
The numbers of the fields are those of the format's ``parquet.thrift``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from typing import Any, BinaryIO

DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY = 6, 7
"""Encodings: lengths and then the texts; what a text shares with the one before, and its rest."""
_LONGEST_HEADER = 65_536
_LONGEST_END = 16_000_000
_MOST_VALUES, _DEEPEST = 1_000_000, 20
"""Of the description: of a few values pyarrow can make an object of a kilobyte."""
_NUMBER, _LONG, _BYTES, _LIST, _STRUCT = 5, 6, 8, 9, 12
"""Types in Thrift's compact protocol."""
_Fields = dict[tuple[int, int], Any]


@dataclass(frozen=True)
class Part:
    """Where a part of a column is: one for each column and each group of rows.

    Attributes:
        rows: number of rows in the group.
        start: of its first page.
        end: behind its last page.
    """

    rows: int
    start: int
    end: int


@dataclass(frozen=True)
class PageClaim:
    """What the header of a page says of it.

    Attributes:
        size: bytes that it takes unpacked.
        values: how many it has.
        encoding: of its values.
    """

    size: int
    values: int
    encoding: int


def read_parts(file: BinaryIO) -> list[list[Part]]:
    """The parts by group and column; raises ``ValueError`` if they cannot be read."""
    file.seek(0, SEEK_END)
    file.seek(max(0, file.tell() - 8))
    length, mark = int.from_bytes(file.read(4), "little"), file.read(4)
    if mark != b"PAR1":
        raise ValueError("it does not end like parquet")
    if length > _LONGEST_END:
        raise ValueError(f"the description of its columns has {length / 1e6:,.0f} MB")
    file.seek(-8 - length, SEEK_END)
    found = _Description(file.read(length)).struct()
    return [_parts(group) for group in found.get((4, _LIST), ())]


def _parts(group: _Fields) -> list[Part]:
    parts = []
    for column in group.get((1, _LIST), ()):
        about = column.get((3, _STRUCT), {})
        start, dictionary, size = (about.get((field, _LONG), 0) for field in (9, 11, 7))
        start = min(start, dictionary) if dictionary > 0 else start
        parts.append(Part(group.get((3, _LONG), 0), start, start + size))
    return parts


def read_pages(file: BinaryIO, part: Part) -> Iterator[PageClaim]:
    """The pages of a part of a column; raises ``ValueError`` if they cannot be read."""
    at = part.start
    while at < part.end:
        file.seek(at)
        header = _Description(file.read(_LONGEST_HEADER))
        fields = header.struct()
        size, packed = fields.get((2, _NUMBER), -1), fields.get((3, _NUMBER), -1)
        if size < 0 or packed < 0:
            raise ValueError("a page has no size")
        data, dictionary, data_2 = (fields.get((field, _STRUCT), {}) for field in (5, 7, 8))
        values = max(each.get((1, _NUMBER), 0) for each in (data, dictionary, data_2))
        yield PageClaim(size, values, data.get((2, _NUMBER), data_2.get((4, _NUMBER), 0)))
        at += header.length + packed


class _Description:
    """Reads what is written in Thrift's compact protocol; ``length`` is how much of it is read."""

    def __init__(self, data: bytes) -> None:
        self._data, self.length, self._values = data, 0, 0

    def struct(self, depth: int = 0) -> _Fields:
        """Fields by number and type: one of another type than the format's is none."""
        fields: _Fields = {}
        number = 0
        while first := self._byte():
            step, kind = divmod(first, 16)
            number = number + step if step else self._integer()
            fields[number, kind] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int, in_list: bool = False) -> Any:
        self._values += 1
        if depth > _DEEPEST or self._values > _MOST_VALUES:
            raise ValueError("its description has too many parts: write it with fewer groups of rows")
        if kind in (1, 2):  # true and false, which are the type alone, but in lists
            return self._byte() if in_list else kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, _NUMBER, _LONG):
            return self._integer()
        if kind in (7, _BYTES):  # a float; bytes or a text: neither is needed
            size = 8 if kind == 7 else self._varint()
            self.length += size
            return None
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind != _LIST:
            raise ValueError("its description has another form")
        size, kind = divmod(self._byte(), 16)
        size = self._varint() if size == 15 else size
        values = [self._value(kind, depth + 1, in_list=True) for _ in range(size)]
        return values if kind == _STRUCT else []  # no other list is needed

    def _byte(self) -> int:
        if self.length >= len(self._data):
            raise ValueError("its description is cut off")
        self.length += 1
        return self._data[self.length - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number in its description is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
