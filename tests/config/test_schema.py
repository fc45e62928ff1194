"""Plain data -> dataclass: types, ranges, lists, nesting, choices by name."""

from dataclasses import dataclass

import pytest

from cnnlab.config.schema import expected, parse, setting, to_plain
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class Shape:
    name: str = setting("which")


@dataclass(kw_only=True)
class Circle(Shape):
    radius: float = setting("half the width", above=0)


@dataclass(kw_only=True)
class Box(Shape):
    sides: list[int] = setting("lengths", at_least=1)
    color: str | None = setting("paint", choices=("red", "blue"))


@dataclass(kw_only=True)
class Drawing:
    shape: Shape
    lid: Shape | None


Table("shape", Shape, {"circle": Choice(Circle, ""), "box": Choice(Box, "")})
CIRCLE = {"name": "circle", "radius": 2}
BOX = {"name": "box", "sides": [1, 2], "color": None}


def test_the_name_selects_the_dataclass() -> None:
    drawing = parse(Drawing, {"shape": BOX, "lid": CIRCLE})

    assert drawing == Drawing(
        shape=Box(name="box", sides=[1, 2], color=None), lid=Circle(name="circle", radius=2.0)
    )
    assert to_plain(drawing) == {"shape": BOX, "lid": CIRCLE}


def test_a_section_may_be_null_only_where_it_says_so() -> None:
    assert parse(Drawing, {"shape": BOX, "lid": None}).lid is None
    with pytest.raises(UsageError, match="shape must be a mapping"):
        parse(Drawing, {"shape": None, "lid": None})


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({**CIRCLE, "sides": [1]}, "shape 'circle' has no setting 'sides'; box has it"),
        ({**CIRCLE, "depth": 1}, "'shape.depth' is not a setting of cnnlab"),
        ({**CIRCLE, "name": "star"}, "shape.name must be one of circle, box, got 'star'"),
        ({**CIRCLE, "radius": 0}, "shape.radius must be a number above 0, got 0.0"),
        ({**CIRCLE, "radius": True}, "shape.radius must be a number above 0, got True"),
        ({**BOX, "sides": 3}, "shape.sides must be a list, each an integer at least 1, got 3"),
        ({**BOX, "sides": [1, 0]}, "shape.sides[1] must be an integer at least 1, got 0"),
        ({**BOX, "sides": [1, 0]}, "shape.sides[1] must be"),
        ({**BOX, "color": "green"}, "shape.color must be one of red, blue, or null, got 'green'"),
        ({"name": "circle"}, "'shape.radius' is missing"),
    ],
)
def test_what_does_not_fit_is_named(plain: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse(Drawing, {"shape": plain, "lid": None})

    assert message in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 3


def test_a_number_may_stand_for_a_text() -> None:
    @dataclass(kw_only=True)
    class Folder:
        root: str = setting("where")

    assert parse(Folder, {"root": 2012}).root == "2012"
    with pytest.raises(UsageError, match="root must be a string, got True"):
        parse(Folder, {"root": True})


def test_expectations_are_said_in_words() -> None:
    assert expected(list[int], {"bounds": {"at least": 1}}) == "a list, each an integer at least 1"
    assert expected(float | None, {"bounds": {"above": 0, "below": 1}}) == (
        "a number above 0 and below 1, or null"
    )


def test_a_word_may_stand_for_a_truth() -> None:
    @dataclass(kw_only=True)
    class Lamp:
        on: bool | str = setting("light", choices=("auto",))

    assert [parse(Lamp, {"on": value}).on for value in (True, False, "auto")] == [
        True,
        False,
        "auto",
    ]
    for wrong in ("true", 1, None, "dark"):
        with pytest.raises(UsageError, match="on must be auto, true or false, got"):
            parse(Lamp, {"on": wrong})
