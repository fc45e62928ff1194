"""Evaluate checkpoints: `python scripts/evaluate.py checkpoint=PATH` is `cnnlab evaluate ...`."""

import sys

from cnnlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
