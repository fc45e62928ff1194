"""The Python face: what `import cnnlab` offers, each name imported when it is used.

A function takes the words of its command, checks them as the command does, and returns an object
that shows itself in a notebook. docs/python.md is the page; whatever it does not name is private.
"""
