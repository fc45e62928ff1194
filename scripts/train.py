"""Train a network: `python scripts/train.py key=value ...` is `cnnlab train key=value ...`."""

import sys

IS_CNNLAB_COMMAND = True  # so that Ctrl-C is answered from the first import on

from cnnlab.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    sys.exit(main())
