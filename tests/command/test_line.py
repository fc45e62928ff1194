"""Any character may stand in a path."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnlab.command.line import quote_paths, read

NASTY = [
    "a=b",
    "epoch=3,step=7.ckpt",
    "a (1).txt",
    "a#b!c",
    "it's",
    'say "so"',
    "back\\slash",
    "ends in\\",
    "back\\'both",
    "[a]b",
    "{a}",
    "a:b",
    "~home",
    "+x",
    "a,b",
    "2012",
    "null.txt",
    "äöü 数",
    "a\tb",
    "choice(1)",
    "*?$x",
]


def value_of(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize("path", [path for path in NASTY if "," not in path])
def test_a_nasty_path_arrives_unchanged(path: str) -> None:
    assert value_of(f"output={quote_paths(path, False, False)}") == path
    assert value_of(f"checkpoint={quote_paths(path, True, False)}") == [path]


@settings(deadline=None)
@example("n" * 300)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=",[]'\"$")))
def test_any_path_arrives_unchanged_but_for_outer_spaces(path: str) -> None:
    wanted = path.strip()
    if wanted and wanted != "null":
        assert value_of(f"output={quote_paths(path, False, False)}") == wanted


def test_an_existing_file_with_a_comma_is_one_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b").touch()

    assert value_of(f"checkpoint={quote_paths('a,b', True, False)}") == ["a,b"]
    assert value_of(f"checkpoint={quote_paths('a,c', True, False)}") == ["a", "c"]


def test_a_comma_stays_a_sweep_with_m() -> None:
    request = read("evaluate", ["checkpoint=a=1,b (2)", "-m"])

    override = OverridesParser.create().parse_override(request.overrides[0])
    assert list(override.sweep_string_iterator()) == ["['a=1']", "['b (2)']"]


def test_null_stays_null() -> None:
    assert value_of(f"dataset.root={quote_paths('null', False, False)}") is None


def test_flags_may_stand_anywhere() -> None:
    request = read("train", ["-m", "seed=1", "--config-dir", "configs", "model=linear"])

    assert request.overrides == ["++seed=1", "model=linear"]
    assert request.is_sweep
    assert request.flags == {"--multirun": "", "--config-dir": "configs"}


@pytest.mark.parametrize(
    ("typed", "wanted"), [("3", [3]), ("3,4", [3, 4]), ("[3,4]", [3, 4]), ("[]", [])]
)
def test_a_bare_word_stands_for_a_list(typed: str, wanted: list[int]) -> None:
    request = read("train", [f"schedule.at_epochs={typed}"])

    assert value_of(request.overrides[0]) == wanted
