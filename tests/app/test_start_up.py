"""What a command need not wait for when it starts."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

COMMANDS = """
import sys
from cnnlab.cli import main

FEW = ["trainer.epochs=1", "trainer.limit_train_batches=2"]
assert main(["train", *FEW, "hydra.run.dir=run"]) == 0
assert main(["evaluate", "checkpoint=run"]) == 0
assert main(["predict", "checkpoint=run", "images=digit.png"]) == 0
print("compiler", [name for name in sys.modules if name in ("torch._dynamo", "torch._inductor")])
"""


def test_no_command_waits_for_torchs_compiler_unless_asked_to_compile(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    words = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "compiler []"
