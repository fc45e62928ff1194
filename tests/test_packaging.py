"""The wheel carries the configs and works where there is no repository."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch

from cnnlab.extras import install_hint, packages_of

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from hatchling.build import build_{kind}; print(build_{kind}(sys.argv[1]))"


def built(kind: str, folder: Path) -> Path:
    """Build from the repository with the installed hatchling: nothing is fetched."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind=kind), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel, which is what installing a pure Python one amounts to."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_installed(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys, cnnlab; from cnnlab.cli import main; "
        "print(cnnlab.__file__, file=sys.stderr); sys.exit(main())"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env={"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_package_and_every_config(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"cnnlab/configs/{path.relative_to(ROOT / 'configs').as_posix()}" in names
    for ending in ("py", "js", "css", "html"):
        for path in (ROOT / "src" / "cnnlab").rglob(f"*.{ending}"):
            assert path.relative_to(ROOT / "src").as_posix() in names
    assert "cnnlab/py.typed" in names
    assert not any(name.startswith(("tests/", "outputs/")) for name in names)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--cfg", "job"], "batch_size: 64"),
        (["list", "experiments"], "quickstart"),
        (["train", "--help"], "trainer.epochs"),
        (["summary", "model=lenet5", "format=json"], '"num_parameters": 61706'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_wheel_works_from_another_folder(
    words: list[str], expected: str, installed: Path, tmp_path: Path
) -> None:
    done = run_installed(installed, tmp_path, *words)

    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert done.stderr.startswith(str(installed)), "the repository's package was used instead"


def environment_with(wheel: Path, place: Path) -> Path:
    """Make an environment with the wheel installed and the dependencies of this one; its bin/.

    Of this environment's folder only the packages are found: its .pth files, one of which leads to
    the sources, are read in a folder that Python itself searches.
    """
    venv.create(place)
    python, bin_folder = place / "bin" / "python", place / "bin"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (site / "dependencies.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")

    if importlib.util.find_spec("pip"):
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
        install += ["--no-deps", "--ignore-installed", "--quiet", str(wheel)]
    elif shutil.which("uv"):
        install = ["uv", "pip", "install", "--python", str(python), "--offline", "--no-deps"]
        install += [str(wheel)]
    else:
        pytest.skip("needs pip or uv to install the wheel")
    subprocess.run(install, check=True, capture_output=True)
    return bin_folder


IN_THE_ENVIRONMENT = """
import sys
import cnnlab
from cnnlab.config import choices
from cnnlab.extras import install_hint

assert cnnlab.__file__.startswith(sys.prefix), cnnlab.__file__
assert str(choices.configs_folder()).startswith(sys.prefix)
assert install_hint("export").endswith("pip install onnx onnxruntime onnxscript")
run = cnnlab.Run("run")
assert run.evaluate().top1_error == run.test_error
"""


@pytest.mark.slow
def test_the_installed_wheel_trains_without_its_sources(wheel: Path, tmp_path: Path) -> None:
    bin_folder = environment_with(wheel, tmp_path / "environment")

    for words in (
        ["--help"],
        ["list", "experiments"],
        ["train", "--help"],
        ["train", "experiment=debug", "hydra.run.dir=run", "runtime.num_threads=1"],
        ["evaluate", "checkpoint=run"],
    ):
        subprocess.run([str(bin_folder / "cnnlab"), *words], cwd=tmp_path, check=True)
    python = [str(bin_folder / "python"), "-c", IN_THE_ENVIRONMENT]
    subprocess.run(python, cwd=tmp_path, check=True)


def test_the_hint_for_an_extra_works_where_cnnlab_came_from(installed: Path) -> None:
    assert install_hint("export").endswith('pip install -e ".[export]"')
    assert packages_of("export") == ["onnx", "onnxruntime", "onnxscript"]

    ask = "from cnnlab.extras import install_hint; print(install_hint('export'))"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "install them: python -m pip install onnx onnxruntime onnxscript\n"


def test_no_message_and_no_page_promises_a_package_of_our_name() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/**/*.py")]
    for path in [*pages, *ROOT.glob("src/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"install (-\S+ )*[\"']?cnnlab\b", text), path


def test_the_source_archive_builds_the_same_wheel_contents(tmp_path: Path, wheel: Path) -> None:
    archive = built("sdist", tmp_path)

    with tarfile.open(archive) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}

    assert {"hatch_build.py", "constraints.txt", "pyproject.toml", "configs/train.yaml"} <= names
    assert not any(name.startswith("tests/corpus") for name in names)


def test_the_constraints_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-zA-Z.]*", pin) for pin in pins), pins
    assert not [pin for pin in pins if pin.startswith(("nvidia", "cuda", "triton"))]


def test_the_constraints_cover_what_is_required() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    required = metadata.requires("cnnlab") or []
    needed = {
        re.split(r"[<>=!~;\s]", line)[0].lower()
        for line in required
        if "extra" not in line or "'test'" in line
    }

    assert needed <= pinned
