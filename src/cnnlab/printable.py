"""Text from strangers, made safe to show on a terminal and in a log."""


def printable(text: str) -> str:
    """Return the text with every control and unprintable character as its escape (\\x1b, \\n).

    File names, class names and messages of foreign files may hold terminal commands or line
    breaks that fake a message of ours. Letters of any script stay as they are.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
