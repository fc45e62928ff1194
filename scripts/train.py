"""Train a network: `python scripts/train.py key=value ...` is `cnnlab train key=value ...`."""

import sys

from cnnlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
