import html.parser
import re

import pytest

from cnnlab.reports import page as report

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)
NASTY = "<script>alert('x')</script>&\"\x1b[31m"


class Tags(html.parser.HTMLParser):
    """Collects tags and every attribute that could fetch something."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.sources += [
            v for k, v in attributes if k in ("src", "href", "srcset", "data", "action")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def everything() -> list[report.Section]:
    return [
        report.Section(
            f"one {NASTY}",
            [
                report.Text(NASTY),
                report.Text(f"a:\n  b: {NASTY}", preformatted=True),
                report.Table([NASTY, "b"], [[NASTY, NASTY]]),
                report.Figure(PNG, NASTY, NASTY),
                report.Gallery([(PNG, [NASTY, NASTY])]),
                report.Scale(NASTY, NASTY, NASTY),
            ],
        ),
        report.Section("folded", [report.Text("inside")], folded=True),
        report.Section("empty"),
    ]


@pytest.fixture
def page() -> str:
    return report.page(NASTY, everything())


def test_every_text_is_escaped(page):
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_the_page_is_well_formed_and_fetches_nothing(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.sources
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    assert not {"script", "link", "iframe", "object"} & set(tags.seen)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page


def test_pictures_have_words_for_those_who_do_not_see_them(page):
    assert page.count("<img") == page.count(" alt=") == 2


def test_wide_pictures_are_moved_sideways_and_not_shrunk():
    wide = PNG[:16] + (1000).to_bytes(4, "big") + PNG[20:]
    shown = report.page("t", [report.Section("a", [report.Figure(wide, "c", "a")])])
    assert '<div class="wide"><img' in shown
    assert '<div class="wide"><img' not in report.page("t", everything())


def test_what_is_folded_opens_without_a_script_and_empty_sections_are_left_out(page):
    assert "<details><summary><h2>folded</h2></summary>" in page
    assert "<h2>empty</h2>" not in page


def test_the_page_replaces_the_one_before(tmp_path):
    path = report.write(tmp_path / "report.html", "first", [])
    report.write(path, "second", [])
    assert "<h1>second</h1>" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_words_are_on_the_left_numbers_on_the_right_and_long_words_wrap():
    table = report.Table(["arm", "network", "mean"], [["one", "a" * 30, "12.3 %"], ["b", "x", "-"]])
    shown = report.page("t", [report.Section("a", [table])])
    assert f'<td class="words long">{"a" * 30}</td><td>12.3 %</td>' in shown
    assert '<th scope="col" class="words">network</th><th scope="col">mean</th>' in shown


@pytest.mark.parametrize(
    ("cell", "is_number"),
    [
        *[("2.36 to 4.60 %", True), ("33 of 1,000", True), ("2.1x (1.7x to 2.6x), 5 seeds", True)],
        *[("39.0 % without, 37.5 % with [paper]", False), ("holds", False), ("-0.5", True)],
    ],
)
def test_figures_with_units_and_intervals_are_numbers_and_sentences_are_not(cell, is_number):
    shown = report.page("t", [report.Section("a", [report.Table(["x", "y"], [["row", cell]])])])
    assert (f"<td>{cell}</td>" in shown) == is_number


def test_a_caption_that_says_nothing_is_no_line():
    shown = report.page("t", [report.Section("a", [report.Figure(PNG, "", "loss", is_plot=True)])])
    assert "figcaption" not in shown.partition("</style>")[2]
    assert '<figure class="plot narrow">' in shown


def test_a_page_is_dark_where_the_reader_is_and_has_two_columns_where_there_is_room():
    halves = [report.Section(name, [report.Text(name)], half=True) for name in ("left", "right")]
    shown = report.page("t", halves)
    assert "prefers-color-scheme: dark" in shown
    assert "@media (min-width: 1000px)" in shown
    assert shown.count('<section class="half">') == 2
