"""Text from strangers, made safe to show on a terminal and in a log."""


def printable(text: str) -> str:
    """Return the text with every control and unprintable character as its escape (\\x1b, \\n).

    File names, class names and messages of foreign files may hold terminal commands or line
    breaks that fake a message of ours. Letters of any script stay as they are. A byte of a file
    name that is no UTF-8 is shown as that byte (\\xe4).
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python hands over bytes that it cannot decode
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode()
