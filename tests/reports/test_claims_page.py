"""The page of the claims: complete, escaped, without a script or a request."""

from html.parser import HTMLParser

from cnnlab.reports.claims_page import ArmRow, Card, ClaimsPage, Line, render

NASTY = '<script>x</script> & "b" \x1b[31m'


def card(name: str, tone: str, line: Line | None, **changes: str) -> Card:
    texts = {
        "sentence": "A claim",
        "source": "a paper",
        "verdict": tone,
        "again": "again",
    } | changes
    return Card(
        name=name,
        tone=tone,
        line=line,
        short=[changes.get("sentence", "measured 1 %")],
        facts=[("published", changes.get("sentence", "1.4 points"))],
        more=[("metric", "error")],
        arms=[ArmRow(["with", "alexnet", "fashion", "1 %", "1"], "cnnlab train", ["runs/a"])],
        **texts,
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "circle", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags_of(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    return tags


def page(*cards: Card) -> str:
    return render(ClaimsPage("Claims", ["a note"], cards, "cnnlab reproduce"))


def test_every_claim_is_in_the_overview_and_links_to_its_card() -> None:
    text = page(card("a", "holds", Line(0.2, 0.6, 1)), card("b", "unmeasured", None))
    seen = tags_of(text).seen
    targets = {attributes["href"] for tag, attributes in seen if tag == "a"}
    ids = {f"#{attributes['id']}" for tag, attributes in seen if tag == "article"}
    assert targets == ids == {"#a", "#b"}
    assert "<b>1</b> hold" in text
    assert "<b>1</b> unmeasured" in text
    assert "undecided</li>" not in text


def test_an_interval_is_drawn_from_its_low_end_to_its_high_one() -> None:
    seen = tags_of(page(card("a", "holds", Line(-0.5, 0.25, 1)))).seen
    dots = [float(str(attributes["cx"])) for tag, attributes in seen if tag == "circle"]
    assert dots == [100 + 92 * 0.25] * 2  # in the overview and on the card
    bars = [str(attributes["d"]) for tag, attributes in seen if attributes.get("class") == "reach"]
    assert all(bar.startswith("M54.0 12H192.0") for bar in bars)


def test_a_card_names_the_command_and_the_settings_of_every_run() -> None:
    assert "# with\ncnnlab train\n#   runs/a/config.yaml" in page(card("a", "holds", None))


def test_what_strangers_wrote_is_text() -> None:
    text = page(card("a", "fails", None, sentence=NASTY, verdict=NASTY, source=NASTY, again=NASTY))
    assert "<script" not in text
    assert "\x1b" not in text
    assert text.count("&lt;script&gt;") >= 6
    tags_of(text)


def test_the_page_asks_for_nothing_and_has_no_script() -> None:
    text = page(card("a", "holds", Line(0, 0, 0)))
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text
