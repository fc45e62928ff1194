"""What a command need not wait for when it starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

COMMANDS = """
import sys
from cnnlab.cli import main

FEW = ["trainer.epochs=1", "trainer.limit_train_batches=2"]
assert main(["train", *FEW, "hydra.run.dir=run"]) == 0
of_1998 = ["model=lenet5_1998", "optimizer=levenberg_marquardt", "logging.report=false"]
assert main(["train", *FEW, *of_1998, "optimizer.num_curvature_images=8", "hydra.run.dir=old"]) == 0
assert main(["evaluate", "checkpoint=run"]) == 0
assert main(["predict", "checkpoint=run", "images=digit.png"]) == 0
print("compiler", [name for name in sys.modules if name in ("torch._dynamo", "torch._inductor")])
"""


@pytest.mark.slow
def test_our_own_update_rules_and_evaluation_start_without_torchs_compiler(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    words = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "compiler []"
