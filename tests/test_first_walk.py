"""A student's first walk: a clone, one command, a figure; then the same run from Python."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

AFTERWARDS = """
import cnnlab
run = cnnlab.Run("latest")
assert run.status == "done" and run.test_error < 0.5
assert cnnlab.__file__.startswith(CLONE), cnnlab.__file__
pictures = cnnlab.datasets("mnist5k").test.images[:4]
print(run.predict(pictures).names)
"""


def make_environment(clone: Path) -> None:
    """Make .venv as the script leaves it, with the dependencies that are installed here.

    That it is complete is what the script finds: installing would fetch gigabytes.
    """
    venv.create(clone / ".venv")
    scripts = clone / ".venv" / "bin"
    ask = [str(scripts / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (site / "cnnlab.pth").write_text(f"{clone / 'src'}\n{Path(torch.__file__).parents[1]}\n")

    command = scripts / "cnnlab"
    command.write_text(
        f"#!{scripts / 'python'}\nimport sys\nfrom cnnlab.cli import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    stamp = "cat pyproject.toml constraints.txt | cksum > .venv/.cnnlab-base"
    subprocess.run(stamp, shell=True, cwd=clone, check=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the scripts are tried on Linux")
def test_from_a_clone_to_the_first_figure(tmp_path: Path) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git repository to clone")
    clone = tmp_path / "cnnlab"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    make_environment(clone)

    start = ["./scripts/quickstart.sh", "trainer.epochs=1"]
    done = subprocess.run(start, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "test error" in done.stdout

    page = next((clone / "outputs").rglob("report.html")).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 3

    program = AFTERWARDS.replace("CLONE", repr(str(clone)))
    python = [str(clone / ".venv" / "bin" / "python"), "-c", program]
    done = subprocess.run(python, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
