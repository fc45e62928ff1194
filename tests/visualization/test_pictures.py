import csv
import io
import json
import sys
from dataclasses import fields

import pytest
import torch
from matplotlib.colors import to_rgba

from cnnlab.config.pictures import PICTURES
from cnnlab.errors import UsageError
from cnnlab.eval_mode import eval_mode
from cnnlab.visualization import draw
from cnnlab.visualization.figures import FORMATS, LARGEST_SIDE_PIXELS, render, save, to_pixels
from cnnlab.visualization.hook import PictureHook
from cnnlab.visualization.numbers import as_csv
from cnnlab.visualization.probe import Probe
from cnnlab.visualization.projections import BOX_COLORS
from tests.reference.visualization import LIGHT_HEAD, network, probe_for

LARGEST_FILE_BYTES = 4_000_000


def probe_with_checkpoints(net, **changes):
    saved = [("epoch 1", net), ("epoch 2", net)]
    return probe_for(net, checkpoints=lambda: iter(saved), **changes)


@pytest.fixture(scope="module")
def lenet():
    return network("lenet5", channels=1, size=32).float()


def size_of(png):
    from matplotlib.image import imread

    return imread(io.BytesIO(png)).shape[:2]


def check_numbers(picture):
    """Compare the JSON and the CSV beside a picture with what it shows, value by value."""
    written = json.loads(render(picture, "json"))
    assert written["picture"] == picture.name
    assert written["numbers"] == json.loads(json.dumps(picture.facts))

    head, *rows = csv.reader(io.StringIO(render(picture, "csv").decode()))
    assert head == ["quantity", "index", "value"]
    assert len({(quantity, index) for quantity, index, _ in rows}) == len(rows)
    for quantity, index, value in rows:
        found = written["numbers"]
        for key in quantity.split("."):
            found = found[key]
        for place in filter(None, index.split(".")):
            found = found[int(place)]
        assert value == ("" if found is None else str(found))


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_of_lenet_is_drawn_bounded_titled_and_with_its_numbers(lenet, name):
    few = {"activations": 1, "occlusion": 1}.get(name, 12)
    pictures = draw(name, lenet, probe_with_checkpoints(lenet, num_images=few))
    assert pictures
    for picture in pictures:
        png, svg = render(picture, "png"), render(picture, "svg")
        assert max(size_of(png)) <= LARGEST_SIDE_PIXELS
        assert max(len(png), len(svg)) < LARGEST_FILE_BYTES
        assert svg.lstrip().startswith(b"<?xml")
        for word in ("net", "noise test", "step 7"):
            assert word in picture.title
        assert picture.caption
        assert picture.facts
        check_numbers(picture)


@pytest.mark.parametrize("name", ["filters", "activations", "deconvnet", "top9", "evolution"])
def test_pictures_of_alexnet_are_bounded(name):
    net = network("alexnet_two_tower", channels=3, size=67, initialization="kaiming", **LIGHT_HEAD)
    probe = probe_with_checkpoints(
        net.float(), num_images=1 if name == "activations" else 5, num_units=16
    )
    for picture in draw(name, net, probe):
        png, svg = render(picture, "png"), render(picture, "svg")
        assert max(size_of(png)) <= LARGEST_SIDE_PIXELS
        assert max(len(png), len(svg)) < LARGEST_FILE_BYTES


ATTRIBUTES = {
    "images": "images",
    "image_set": "search_images",
    "train_set": "search_images",
    **{
        key: key
        for key in ("layer", "units", "num_units", "signal", "square_pixels", "square_stride")
    },
}
"""What a picture reads of its probe -> the setting of `visualize` that decides it."""


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_uses_the_settings_that_its_row_names_and_no_others(lenet, name):
    read = set()

    class NotingProbe(Probe):
        def __getattribute__(self, attribute):
            reader = sys._getframe(1).f_globals["__name__"]
            is_picture = reader.startswith("cnnlab.visualization.") and reader != Probe.__module__
            if attribute in ATTRIBUTES and is_picture:
                read.add(ATTRIBUTES[attribute])
            return super().__getattribute__(attribute)

    for layer in (None, "c3"):
        probe = probe_with_checkpoints(lenet, num_images=1, num_units=1, layer=layer)
        noting = NotingProbe(**{field.name: getattr(probe, field.name) for field in fields(probe)})
        draw(name, lenet, noting)
    assert read == set(PICTURES[name].settings) - {"indices", "num_images"}


def test_the_title_says_layer_and_signal_and_the_units_are_labeled(lenet):
    (picture,) = draw("top9", lenet, probe_for(lenet, units=(3, 7), signal="guided"))
    assert "layer c3" in picture.title
    assert "guided" in picture.title
    labels = [axes.get_title() for axes in picture.figure.axes]
    assert [one.split(":")[0] for one in labels if one] == ["unit 3", "unit 7"]


def test_a_picture_stands_the_right_way_up_with_its_own_colors(lenet):
    from cnnlab.visualization.figures import Picture, new_figure, show

    red_over_blue = torch.zeros(3, 2, 2)
    red_over_blue[0, 0], red_over_blue[2, 1] = 1, 1
    figure = new_figure(3, 3, "title")
    show(figure.subplots(), red_over_blue)
    pixels = to_pixels(Picture("test", "title", "", figure))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 300, 300)
    assert pixels[:, 100, 150].tolist() == [255, 0, 0]
    assert pixels[:, 250, 150].tolist() == [0, 0, 255]


def test_a_class_name_is_no_formula_in_a_spreadsheet():
    assert as_csv({"names": ["=1+1", None, 2.5]}).decode().splitlines()[1:] == [
        "names,0,'=1+1",
        "names,1,",
        "names,2,2.5",
    ]


def test_the_same_picture_gives_the_same_files(lenet, tmp_path):
    for folder in ("a", "b"):
        (picture,) = draw("filters", lenet, probe_for(lenet))
        paths = save(picture, tmp_path / folder)
        assert [path.name for path in paths] == [f"filters.{one}" for one in FORMATS]
    for name in (f"filters.{one}" for one in FORMATS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_hook_writes_pixels_and_changes_nothing(lenet):
    net = network("lenet5", channels=1, size=32, dropout=0.5).float().train()
    written = []
    random_state = torch.get_rng_state()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    hook = PictureHook(
        ("filters", "deconvnet", "evolution"), probe_for(net), lambda *what: written.append(what)
    )
    hook(net, 120)
    assert [(step, tag) for step, tag, _ in written] == [
        (120, "pictures/filters"),
        (120, "pictures/deconvnet"),
    ]
    assert all(pixels.dtype == torch.uint8 and len(pixels) == 3 for *_, pixels in written)
    assert net.training
    assert all(module.training for module in net.modules())
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())


def test_the_modes_come_back_after_an_error(lenet):
    net = network("lenet5", channels=1, size=32).train()
    net.get_submodule("c1").eval()
    with pytest.raises(RuntimeError, match="stop"), eval_mode(net):
        raise RuntimeError("stop")
    assert net.training
    assert not net.get_submodule("c1").training


@pytest.mark.parametrize("name", ["activations", "deconvnet", "top9", "equivariance", "neighbors"])
def test_a_layer_that_is_not_there_lists_those_that_are(lenet, name):
    with pytest.raises(UsageError, match="no layer 'conv9'") as caught:
        draw(name, lenet, probe_for(lenet, layer="conv9"))
    assert "c1, s2" in caught.value.hint


@pytest.mark.parametrize("name", ["deconvnet", "top9", "evolution"])
def test_a_unit_that_is_not_there_names_the_range(lenet, name):
    with pytest.raises(UsageError, match="layer c3 has no unit 99") as caught:
        draw(name, lenet, probe_with_checkpoints(lenet, layer="c3", units=(99,)))
    assert caught.value.hint == "its units are 0 to 15"


def test_evolution_without_checkpoints_says_what_it_needs(lenet):
    for name in ("evolution", "filter_evolution"):
        with pytest.raises(UsageError, match="needs the checkpoints") as caught:
            draw(name, lenet, probe_for(lenet))
        assert "saving.keep_spread=8 keeps" in caught.value.hint


@pytest.mark.parametrize("name", ["evolution", "filter_evolution"])
def test_few_checkpoints_are_drawn_with_a_word_on_how_to_keep_more(lenet, name):
    (picture,) = draw(name, lenet, probe_with_checkpoints(lenet, num_images=1, num_units=1))
    assert picture.missing.startswith("2 checkpoints of this run were kept; saving.keep_spread=8")
    saved = [(f"epoch {n}", lenet) for n in range(8)]
    whole = probe_for(lenet, checkpoints=lambda: iter(saved), num_images=1, num_units=1)
    assert draw(name, lenet, whole)[0].missing == ""


def test_no_images_are_refused(lenet):
    with pytest.raises(UsageError, match="no image to look at"):
        probe_for(lenet, num_images=0)


def test_a_model_that_lists_no_layers_is_refused():
    net = torch.nn.Linear(4, 2)
    lenet = network("lenet5", channels=1, size=32)
    with pytest.raises(UsageError, match="Linear does not list its layers"):
        draw("activations", net, probe_for(lenet))


def labels_of(picture):
    """Return every text in a picture with its color."""
    from matplotlib.text import Text

    found = picture.figure.findobj(Text)
    return {text.get_text(): text.get_color() for text in found if text.get_text()}


def test_boxes_are_matched_to_their_units_by_color_and_number(lenet):
    (picture,) = draw("deconvnet", lenet, probe_for(lenet, num_images=2, num_units=4))
    boxes = [
        patch.get_edgecolor() for patch in picture.figure.axes[0].patches
    ]  # of the first image
    texts = labels_of(picture)
    units = picture.facts["units"][0]

    assert len(boxes) == 3
    for number, (color, unit) in enumerate(zip(BOX_COLORS, units, strict=False), start=1):
        (label,) = [text for text in texts if text.startswith(f"[{number}] unit {unit}: ")]
        assert texts[label] == color
        assert str(number) in texts
        assert to_rgba(color) in boxes
    assert len([text for text in texts if text.startswith(f"unit {units[3]}: ")]) == 1


def test_without_boxes_no_unit_is_numbered(lenet):
    (picture,) = draw("deconvnet", lenet, probe_for(lenet, num_images=2, layer="relu6"))
    assert "Boxes" not in picture.caption
    assert not [text for text in labels_of(picture) if text.startswith("[")]


@pytest.mark.parametrize("layer", ["c3", "s4", "relu3"])
def test_units_that_fire_on_no_image_are_marked(layer):
    net = network("lenet5", channels=1, size=32).float()
    with torch.no_grad():
        net.c3.weight[[2, 9]] = 0
        net.c3.bias[[2, 9]] = -1
    (picture,) = draw("top9", net, probe_for(net, layer=layer, units=(1, 2)))
    texts = labels_of(picture)
    assert "unit 2: never fires" in texts
    assert not [text for text in texts if text.startswith("unit 1: never")]
    assert {2, 9} <= set(picture.facts["never_firing"])
    number = len(picture.facts["never_firing"])
    assert picture.caption.endswith(f" {number} of the 16 units fire on no image.")


def test_a_unit_without_a_rectifier_is_never_called_silent():
    net = network("lenet5", channels=1, size=32).float()
    with torch.no_grad():
        net.output.bias[:] = -1000  # scores are all below zero
    (picture,) = draw("top9", net, probe_for(net, layer="output"))
    assert picture.facts["never_firing"] == []
