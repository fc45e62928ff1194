"""The checkpoint file: what goes in comes out, and nothing else does."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from cnnlab import checkpoint
from cnnlab.errors import CheckpointError, NumericsError, ResourceError
from cnnlab.files import checksummed, tensor_header
from scripts.torture.mutations import DIGEST, mutate, seal

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = {"step": 7, "class_names": ["null", "\x1b[31mrot\n", "ünï"], "rate": 1e-7, "none": None}


def every_kind() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(4, 3, 5, 5, generator=generator)
    return {
        "model.weight": wide,
        "model.channels_last": wide.to(memory_format=torch.channels_last),
        "model.view": wide[1:3, :, ::2],
        "double": wide.double() / 3,
        "half": wide.half(),
        "brain": wide.bfloat16(),
        "step": torch.tensor(7),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "signed": torch.tensor([-1], dtype=torch.int8),
        "flags": torch.tensor([True, False, True]),
        "nothing": torch.empty(0, 3),
        "short": torch.tensor([-300], dtype=torch.int16),
        "int": torch.tensor([1 << 20], dtype=torch.int32),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.safetensors"
    checkpoint.write(path, every_kind(), DOCUMENT)
    return path


def header_of(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def rewrite_header(path: Path, header: bytes) -> None:
    """Give the file another header and a digest that holds, as a forger would."""
    data = path.read_bytes()
    body = data[8 + len(header_of(data)) :]
    path.write_bytes(seal(len(header).to_bytes(8, "little") + header + body))


def test_tensors_of_every_kind_come_back_with_type_shape_and_bits(file: Path) -> None:
    tensors = checkpoint.read(file).tensors
    assert set(tensors) == set(every_kind())
    for name, tensor in every_kind().items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert torch.equal(tensors[name], tensor)


def test_the_document_comes_back_with_its_format_version(file: Path) -> None:
    assert checkpoint.read(file).document == DOCUMENT | {"format_version": 1}


def test_floats_pass_through_the_document_exactly(tmp_path: Path) -> None:
    values = [0.1, 1e-310, 1.7976931348623157e308, -0.0, 2**53 + 1, 1 / 3]
    checkpoint.write(tmp_path / "a", {}, {"values": values})
    assert repr(checkpoint.read(tmp_path / "a").document["values"]) == repr(values)


def test_the_same_content_gives_the_same_bytes(file: Path, tmp_path: Path) -> None:
    reordered = dict(reversed(every_kind().items()))
    checkpoint.write(tmp_path / "two", reordered, DOCUMENT)
    assert (tmp_path / "two").read_bytes() == file.read_bytes()


def test_the_safetensors_library_opens_the_file(file: Path) -> None:
    loaded = load_file(file)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in every_kind().items())
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["cnnlab"])["step"] == 7


def test_tensors_that_were_read_can_be_written_to(file: Path) -> None:
    weight = checkpoint.read(file).tensors["model.weight"]
    weight.add_(1)
    assert torch.equal(weight, every_kind()["model.weight"] + 1)


def test_gradients_do_not_stand_in_the_way(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    checkpoint.write(tmp_path / "a", {"model.p": parameter}, {})
    checkpoint.copy_into({"model.p": parameter}, checkpoint.read(tmp_path / "a").tensors)
    assert parameter.requires_grad


@pytest.mark.parametrize("version", [1])
def test_files_of_every_format_version_are_read_for_ever(version: int) -> None:
    found = checkpoint.read(GOLDEN / f"checkpoint_v{version}.safetensors")
    assert found.document["step"] == 3
    assert found.document["class_names"] == ["zero", "one\x07", "zwei"]
    assert torch.equal(found.tensors["model.weight"], torch.arange(6.0).view(2, 3) / 7)
    assert found.tensors["model.steps"].tolist() == [1, 2]


def test_every_flipped_bit_of_a_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "small"
    checkpoint.write(path, {"model.w": torch.ones(3)}, {"step": 1})
    data = path.read_bytes()
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            checkpoint.read(path)
        with pytest.raises(CheckpointError):
            checkpoint.verify(path)


def test_damaged_and_forged_files_are_refused_with_a_message(tmp_path: Path) -> None:
    outcomes = mutate(tmp_path, 400, seed=1)
    assert outcomes["silent"] == 0
    assert outcomes["slow"] == 0
    assert not [name for name in outcomes if name.startswith("traceback")]
    assert outcomes["refused"] > 380


@pytest.mark.slow
def test_two_thousand_damaged_files_are_refused_with_a_message(tmp_path: Path) -> None:
    outcomes = mutate(tmp_path, 2000, seed=2)
    assert outcomes["silent"] == outcomes["slow"] == 0
    assert not [name for name in outcomes if name.startswith("traceback")]


def test_nothing_is_parsed_before_the_digest_holds(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)

    def parsed(*_: object) -> None:
        raise AssertionError("the header was parsed")

    monkeypatch.setattr(tensor_header.json, "loads", parsed)
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoint.read(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"dtype":"F32"', b'"dtype":"F16"'),
        (b'"dtype":"F32"', b'"dtype":"C64"'),
        (b'"shape":[4,3,5,5]', b'"shape":[4,3,5,6]'),
        (b'"shape":[4,3,5,5]', b'"shape":[4,3,-5,5]'),
        (b'"shape":[4,3,5,5]', b'"shape":[4,3,5.0]'),
        (b'"shape":[5]', b'"shape":[100000000000]'),
        (b'"model.weight"', b'"model.view"'),
        (b'"rate\\":1e-07', b'"rate\\":1e407'),
        (b'"rate\\":1e-07', b'"rate\\":  NaN'),
        (b'"step\\":7', b'"step\\":\\"\\\\ud800\\"'),
        (b'"format_version\\":1', b'"format_version\\":0'),
        (b'"format_version\\":1', b'"format_version\\":true'),
        (b'"cnnlab"', b'"kennel"'),
        (b'"step\\":7', b'"step\\":' + b"9" * 5000),
        (b'"step\\":7', b'"step\\":' + b"[" * 10_000 + b"]" * 10_000),
        (b'"step\\":7', b'"rate\\":7'),
    ],
)
def test_a_forged_header_with_a_digest_that_holds_is_refused(
    file: Path, old: bytes, new: bytes
) -> None:
    header = header_of(file.read_bytes())
    assert old in header
    forged = header.replace(old, new, 1).rstrip(b" ")
    rewrite_header(file, forged + b" " * (-len(forged) % 8))
    with pytest.raises(CheckpointError):
        checkpoint.read(file)


def test_a_newer_format_says_so(file: Path) -> None:
    header = header_of(file.read_bytes())
    rewrite_header(file, header.replace(b'"format_version\\":1', b'"format_version\\":2', 1))
    with pytest.raises(CheckpointError, match="newer cnnlab"):
        checkpoint.read(file)


def test_two_hundred_thousand_tensors_are_refused_quickly(tmp_path: Path) -> None:
    entries = ",".join(
        f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(200_000)
    )
    start = (checksummed.HEADER_START + checksummed.BLANK_DIGEST).decode()
    text = start + '","cnnlab":"{\\"format_version\\":1}"},' + entries + "}"
    header = (text + " " * (-len(text) % 8)).encode()
    (tmp_path / "many").write_bytes(seal(len(header).to_bytes(8, "little") + header))
    with pytest.raises(CheckpointError):
        checkpoint.read(tmp_path / "many")


def test_a_header_of_a_gigabyte_is_refused_before_it_is_read(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[:8] = (1 << 30).to_bytes(8, "little")
    file.write_bytes(data)
    os.truncate(file, 2 << 30)  # sparse: takes no room
    with pytest.raises(CheckpointError, match="impossible length"):
        checkpoint.read(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "zeros"),
        (b"just some text\n" * 20, "not a checkpoint of cnnlab"),
        (b"<!DOCTYPE html><html>404</html>" + b" " * 100, "web page"),
        (b"PK\x03\x04" + b"x" * 200, "zip, gzip or pickle"),
        (b"\x80\x02}q\x00." + b"x" * 200, "zip, gzip or pickle"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        checkpoint.read(tmp_path / "foreign")
    assert caught.value.exit_code == 4


def test_a_plain_safetensors_file_is_referred_to_convert(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(40)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="without cnnlab's digest"):
        checkpoint.read(tmp_path / "plain.safetensors")


def test_folders_pipes_and_link_circles_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name, words in [
        (".", "folder"),
        ("pipe", "pipe"),
        ("circle", "symbolic"),
        ("x", "no such"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            checkpoint.read(tmp_path / name)


def test_a_zero_byte_in_a_path_is_a_missing_file_not_a_bug() -> None:
    with pytest.raises(CheckpointError):
        checkpoint.read("a\0b")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_tensor_that_is_not_finite_is_never_written(
    tmp_path: Path, bad: float, dtype: torch.dtype
) -> None:
    tensor = torch.ones(3000, dtype=dtype)
    tensor[1234] = bad
    with pytest.raises(NumericsError, match=r"model\.w"):
        checkpoint.write(tmp_path / "a", {"model.w": tensor}, {})
    assert not list(tmp_path.iterdir())


def test_a_sum_that_overflows_is_not_taken_for_infinity(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "a", {"model.w": torch.full((2000,), 3e38)}, {})
    checkpoint.write(tmp_path / "b", {"model.w": torch.full((2000,), 6e4).half()}, {})
    assert checkpoint.read(tmp_path / "b").tensors["model.w"].max() == 6e4


def test_a_number_that_is_not_finite_is_named_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match=r"metrics\.loss"):
        checkpoint.write(tmp_path / "a", {}, {"metrics": {"loss": float("nan")}})


def test_a_forged_file_with_nan_weights_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "a", {"model.w": torch.ones(4)}, {})
    data = bytearray((tmp_path / "a").read_bytes())
    data[-4:] = torch.tensor([float("nan")]).numpy().tobytes()
    (tmp_path / "a").write_bytes(seal(bytes(data)))
    with pytest.raises(CheckpointError, match=r"model\.w"):
        checkpoint.read(tmp_path / "a")


def test_a_forged_bool_that_is_neither_true_nor_false_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "a", {"flag": torch.tensor([True])}, {})
    data = bytearray((tmp_path / "a").read_bytes())
    data[-1] = 77
    (tmp_path / "a").write_bytes(seal(bytes(data)))
    with pytest.raises(CheckpointError, match="flag"):
        checkpoint.read(tmp_path / "a")


@pytest.mark.parametrize("value", [{1: 2}, {"a": torch.ones(1)}, {"a": {3}}, {"a": b"x"}])
def test_only_plain_data_goes_into_a_document(tmp_path: Path, value: dict) -> None:
    with pytest.raises(TypeError):
        checkpoint.write(tmp_path / "a", {}, value)


def test_complex_tensors_are_refused_at_the_write(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="complex"):
        checkpoint.write(tmp_path / "a", {"z": torch.ones(2, dtype=torch.complex64)}, {})


def test_copying_changes_nothing_unless_every_tensor_fits() -> None:
    targets = {f"layer{i}.weight": torch.zeros(2, 3) for i in range(8)}
    sources = {name: torch.ones(2, 3) for name in targets} | {"extra": torch.ones(1)}
    del sources["layer0.weight"]
    sources["layer1.weight"] = torch.ones(3, 2)
    sources["layer2.weight"] = torch.ones(2, 3, dtype=torch.float64)
    sources["layer3.weight"] = torch.ones(())
    sources["layer4.weight"] = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.copy_into(targets, sources, "x")
    assert all(not target.any() for target in targets.values())
    assert "layer0.weight is missing" in caught.value.hint
    assert "layer1.weight is 3x2 instead of 2x3" in caught.value.hint
    assert "layer2.weight is float64 instead of float32" in caught.value.hint
    assert caught.value.hint.endswith("and 1 more")


def test_section_takes_the_prefix_away() -> None:
    one, two = torch.ones(1), torch.ones(2)
    assert checkpoint.section({"model.a": one, "optimizer.a": two}, "model.") == {"a": one}


def test_names_of_strangers_reach_no_message_raw(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.copy_into({}, {"evil\x1b[2J\n": torch.ones(1)}, "a\x1b]0;b")
    assert "\x1b" not in str(caught.value)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(tmp_path / "gone\x1b[2J")
    assert "\x1b" not in str(caught.value)


def test_too_large_a_document_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        checkpoint.write(tmp_path / "a", {}, {"text": "x" * (checksummed.MAX_HEADER_BYTES + 1)})
    assert not list(tmp_path.iterdir())


def test_the_digest_stands_where_the_documentation_says(file: Path) -> None:
    import hashlib

    data = file.read_bytes()
    blank = data[: DIGEST.start] + b"0" * 64 + data[DIGEST.stop :]
    assert data[8:35] == b'{"__metadata__":{"sha256":"'
    assert data[DIGEST].decode() == hashlib.sha256(blank).hexdigest()
