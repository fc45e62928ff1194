"""Evaluate checkpoints: `python scripts/evaluate.py checkpoint=PATH` is `cnnlab evaluate ...`."""

import sys

IS_CNNLAB_COMMAND = True  # so that Ctrl-C is answered from the first import on

from cnnlab.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    sys.exit(main())
