"""Follow the Huffman codes of a baseline JPEG without decoding pixels: is it complete and legal?

Slow (a second for some megabytes), so used for two kinds of files only. One has data left over:
harmless bytes after the picture, or a damaged picture that ended too early. The other has a color
sampling that simplejpeg does not read. libjpeg itself ignores runs that leave their block.
Source: ITU-T T.81, annexes B, C and F.
"""

from array import array
from dataclasses import dataclass, field

import numpy as np

_END_OF_BLOCK = 1 << 10
_INTERLEAVED = {0xC0, 0xC1}
_TABLES, _SCAN, _RESTART_INTERVAL = 0xC4, 0xDA, 0xDD


@dataclass
class _Scan:
    """tables: by (class, number), what 16 bits mean. blocks: (DC, AC) tables of one MCU, in order.

    A table has an entry for every 16 bits: in its lower 6 bits how many of them the code and its
    value take, above them how many places of the block it fills; 0: no code starts like this.
    """

    tables: dict[int, list[int]] = field(default_factory=dict)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    restart_interval: int = 0
    blocks: list[tuple[list[int], list[int]]] = field(default_factory=list)
    start: int = 0

    @property
    def num_mcus(self) -> int:
        """How many groups of blocks the picture has; a picture of one plane has single blocks."""
        width, height = self.size
        across = 8 * max(h for h, _ in self.sampling.values())
        down = 8 * max(v for _, v in self.sampling.values())
        if len(self.sampling) == 1:
            across = down = 8
        return -(-width // across) * -(-height // down)


def has_legal_codes(content: bytes) -> bool | None:
    """Return whether a picture's codes are all legal and its last byte is padded with ones.

    Extra bytes after the picture do not matter, unless they are more of a picture's codes.
    None for what is not one baseline scan.
    """
    try:
        scan = _read_header(content)
        left = scan.num_mcus if scan is not None else 0
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        return None
    if scan is None:
        return None

    segments = _segments(content[scan.start :])
    for segment in segments:
        num = min(left, scan.restart_interval or left)
        if not _ends_well(segment, scan.blocks, num):
            return False
        left -= num
        if left == 0:
            break
    return left == 0


def _read_header(content: bytes) -> _Scan | None:
    scan, place = _Scan(), 2
    while content[place] == 0xFF:
        marker, size = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        body = content[place + 4 : place + 2 + size]
        place += 2 + size

        if marker == _TABLES:
            _read_tables(body, scan.tables)
        elif marker in _INTERLEAVED:
            scan.size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
            parts = [body[6 + 3 * item : 9 + 3 * item] for item in range(body[5])]
            scan.sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts}
        elif marker == _RESTART_INTERVAL:
            scan.restart_interval = int.from_bytes(body[:2], "big")
        elif marker == _SCAN:
            if body[0] != len(scan.sampling):
                return None
            scan.blocks, scan.start = _blocks(body, scan), place
            return scan
        elif 0xC0 <= marker <= 0xCF:  # progressive, lossless or arithmetic
            return None
    return None


def _read_tables(body: bytes, tables: dict[int, list[int]]) -> None:
    while body:
        counts, num = body[1:17], sum(body[1:17])
        tables[body[0]] = _table(counts, body[17 : 17 + num], is_dc=body[0] < 16)
        body = body[17 + num :]


def _table(counts: bytes, symbols: bytes, *, is_dc: bool) -> list[int]:
    """Return what each of the 65,536 prefixes means. Codes of one length are consecutive."""
    table: list[int] = []
    place = 0
    for length, count in enumerate(counts, start=1):
        for symbol in symbols[place : place + count]:
            if len(table) >= 1 << 16:
                raise ValueError("more codes than there is room for")

            run, size = (0, symbol) if is_dc else divmod(symbol, 16)
            places = 1 if is_dc else run + 1
            if symbol == 0 and not is_dc:
                places = _END_OF_BLOCK
            table += [length + size + (places << 6)] * (1 << (16 - length))
        place += count
    return (table + [0] * (1 << 16))[: 1 << 16]


def _blocks(body: bytes, scan: _Scan) -> list[tuple[list[int], list[int]]]:
    found = []
    for item in range(body[0]):
        name, numbers = body[1 + 2 * item], body[2 + 2 * item]
        across, down = scan.sampling[name] if body[0] > 1 else (1, 1)
        tables = scan.tables[numbers >> 4], scan.tables[16 + (numbers & 15)]
        found += [tables] * (across * down)
    return found


def _segments(coded: bytes) -> list[bytes]:
    """Return the runs between restart markers up to the next other marker, stuffing removed."""
    found, start, place = [], 0, 0
    while (place := coded.find(b"\xff", place)) >= 0 and place + 1 < len(coded):
        follower = coded[place + 1]
        if follower not in (0x00, 0xFF):
            found.append(coded[start:place].replace(b"\xff\x00", b"\xff"))
            start = place + 2
            if not 0xD0 <= follower <= 0xD7:
                return found
        place += 1 if follower == 0xFF else 2
    return [*found, coded[start:].replace(b"\xff\x00", b"\xff")]


class _Codes:
    """The bits of a segment, followed from the first."""

    def __init__(self, segment: bytes, blocks: list[tuple[list[int], list[int]]]) -> None:
        padded = np.frombuffer(segment + bytes(8), dtype=np.uint8).astype(np.uint32)
        self._bits = array("I", (padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]).tobytes())
        self._segment, self._blocks = segment, blocks
        self._place, self._end = 0, 8 * len(segment)

    def follow(self, num_mcus: int) -> bool:
        """Return whether the next `num_mcus` MCUs are all legal."""
        return all(self._follow_block(dc, ac) for _ in range(num_mcus) for dc, ac in self._blocks)

    def _follow_block(self, dc: list[int], ac: list[int]) -> bool:
        bits, place, end = self._bits, self._place, self._end
        if place > end:
            return False

        # one DC code, then AC codes until the 64 places are filled or the block ends
        entry = dc[bits[place >> 3] >> (8 - (place & 7)) & 0xFFFF]
        place += entry & 63
        filled = entry >> 6
        while 0 < filled < 64 and place < end:
            entry = ac[bits[place >> 3] >> (8 - (place & 7)) & 0xFFFF]
            place += entry & 63
            filled = filled + (entry >> 6) if entry else 0

        self._place = place
        return (filled == 64 or filled > _END_OF_BLOCK) and place <= end

    def byte_is_padded(self) -> bool:
        """Return whether the remaining bits of this byte are ones."""
        rest = -self._place % 8
        ones = (1 << rest) - 1
        return rest == 0 or self._segment[self._place >> 3] & ones == ones

    def continues_to_the_end(self) -> bool:
        """Return whether at least one more MCU follows, and only such up to the last byte."""
        num_more = 0
        while self._end - self._place >= 8 or num_more == 0:
            if not self.follow(1):
                return False
            num_more += 1
        return self.byte_is_padded()


def _ends_well(segment: bytes, blocks: list[tuple[list[int], list[int]]], num_mcus: int) -> bool:
    """Return whether a segment has exactly num_mcus legal MCUs and then a padded byte."""
    codes = _Codes(segment, blocks)
    return codes.follow(num_mcus) and codes.byte_is_padded() and not codes.continues_to_the_end()
