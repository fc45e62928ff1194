"""Completion: what may follow a line, and the scripts as their shells run them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.cli import main
from cnnlab.command.completion import candidates


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "a file.jpg").touch()
    (tmp_path / "photo.jpg").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cnnlab tr", ["train "]),
        ("cnnlab train model=le", ["model=lenet5 ", "model=lenet5_1998 "]),
        ("cnnlab train -m model=linear,ml", ["model=linear,mlp "]),
        ("cnnlab train seed=0 sch", ["schedule.", "schedule="]),
        ("cnnlab train trainer.ep", ["trainer.epochs="]),
        ("cnnlab train optimizer.decay_biases=t", ["optimizer.decay_biases=true "]),
        ("cnnlab list e", ["experiments "]),
        ("cnnlab copy experiment=q", ["experiment=quickstart "]),
        ("cnnlab evaluate checkpoint=", ["checkpoint=photo.jpg ", "checkpoint=runs/",
                                         "checkpoint=latest "]),
        ("cnnlab evaluate checkpoint=runs/", ["checkpoint=runs/a/"]),
        ("cnnlab evaluate checkpoint=nowhere/", []),
        ("cnnlab train --con", ["--config-dir "]),
        ("cnnlab nothing x", []),
        ("cnnlab train nothing=", []),
    ],
)  # fmt: skip
def test_what_may_follow(line: str, expected: list[str]) -> None:
    assert candidates(line) == expected


STRANGERS = ("$(touch oops)", "a b;id", "`id`", "x\nquickstart", "\x1b[2J", "quick*", "quick'")


def test_a_strangers_file_names_are_no_words_for_the_shell_and_no_lines_of_a_message(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is completed stands on the command line as it is, and Enter runs it."""
    usual = candidates("cnnlab train experiment=")
    (here / "experiment").mkdir()
    for name in ("quickly", *STRANGERS):
        (here / "experiment" / f"{name}.yaml").write_text("seed: 1\n")
    found = candidates("cnnlab train experiment=")
    assert set(found) - set(usual) == {"experiment=quickly "}

    for words in (["train", "experiment=x"], ["copy", "experiment=x", "mine.yaml"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) <= 3
        assert not set(said) & {"\x1b"}
    assert main(["train", "--help"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_every_command_completes_every_key_that_its_help_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verb in ("compare", "convert"):
        assert main([verb, "--help"]) == 0
        page = capsys.readouterr().out.partition("settings (")[2].partition("everywhere:")[0]
        keys = [line.split()[0] for line in page.splitlines() if line[2:3].strip()]
        assert keys[1:]
        for key in keys[1:]:
            assert f"{key}=" in candidates(f"cnnlab {verb} {key}")


@pytest.mark.parametrize("words", [["-sc"], ["-sc", "install=csh"], ["-sc=remove"]], ids=" ".join)
def test_another_shell_is_a_usage_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "one of bash, zsh, fish" in capsys.readouterr().err


def test_the_flag_stands_before_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-sc", "install=bash"]) == 2
    assert "cnnlab -sc install=bash" in capsys.readouterr().err


def run_in(shell: str, script: str) -> str:
    """Run a script in a real shell, in which `cnnlab` is this Python's."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    define = f'cnnlab() {{ "{sys.executable}" -m cnnlab "$@"; }}\n'
    if shell == "fish":
        define = f'function cnnlab; "{sys.executable}" -m cnnlab $argv; end\n'
    done = subprocess.run(
        [shell, "-c", define + script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


BASH = """
eval "$(cnnlab -sc install=bash)"
complete -p cnnlab
COMP_LINE='cnnlab train model=le'; COMP_POINT=${#COMP_LINE}
COMP_WORDS=(cnnlab train model = le); COMP_CWORD=4
_cnnlab
printf '[%s]\\n' "${COMPREPLY[@]}"
"""


def test_bash_replaces_what_follows_the_equals_sign() -> None:
    """`=` ends a word in bash: whole words would be typed twice."""
    registered, *found = run_in("bash", BASH).splitlines()
    assert registered.startswith("complete ")
    assert found == ["[lenet5 ]", "[lenet5_1998 ]"]


def test_fish_completes_whole_words() -> None:
    script = "cnnlab -sc install=fish | source\ncomplete -C 'cnnlab train model=le'"
    assert run_in("fish", script).split() == ["model=lenet5", "model=lenet5_1998"]


def test_zsh_reads_its_script_and_the_removal() -> None:
    lines = [f'eval "$(cnnlab -sc {what}=zsh)"' for what in ("install", "uninstall")]
    run_in("zsh", "\n".join(lines))


ZSH = """
zmodload zsh/zpty
zpty -b inner zsh -f -i
zpty -w inner 'PS1=; stty columns 200; autoload -Uz compinit; compinit -u -D'
zpty -w inner 'cnnlab() { "PYTHON" -m cnnlab "$@"; }'
zpty -w inner 'eval "$(cnnlab -sc install=zsh)"; print REA""DY'
zpty -r inner seen '*READY*'
zpty -w -n inner $'cnnlab train model=lenet5_\t'
zpty -r inner seen '*lenet5_1998*'
print -r -- "completed: ${seen##*model=}"
zpty -d inner
"""
"""An inner zsh with a terminal, into which a line and a tab are typed; each wait is for a text."""


@pytest.mark.slow
def test_zsh_completes_a_value_where_it_is_typed() -> None:
    found = run_in("zsh", ZSH.replace("PYTHON", sys.executable))
    assert found.startswith("completed: lenet5_"), found
    assert "lenet5_1998" in found
