"""Run the page's JavaScript in node, where there is one: the arithmetic without a browser."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cnnlab.playground import page

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def answer(script: str, given: Any, folder: Path) -> Any:
    """Return what `async (given) => ...` answers, beside the page's own functions.

    `script` is the body of that function; both ways everything is JSON.
    """
    (folder / "given.json").write_text(json.dumps(given))
    body = f"(async (given) => {{{script}}})(JSON.parse(fs.readFileSync('given.json', 'utf8')))"
    whole = "\n".join(
        [
            *(page.asset(name) for name in ("interpreter.js", "preprocess.js")),
            "const fs = require('fs');",
            f"{body}.then((found) => process.stdout.write(JSON.stringify(found)));",
        ]
    )
    (folder / "program.js").write_text(whole)
    done = subprocess.run(
        ["node", "program.js"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return json.loads(done.stdout)
