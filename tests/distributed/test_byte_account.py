"""The byte account of K workers: formulas, their table, and when which scheme pays."""

import json

import pytest

from cnnlab.cli import main
from cnnlab.distributed import byte_account
from cnnlab.distributed.byte_account import Split
from cnnlab.errors import UsageError

ALEXNET_2014 = Split(2_469_696, 9216, [(9216, 4096), (4096, 4096)], 4_097_000)


def test_the_paper_s_network_is_split_by_its_layers() -> None:
    layers = [("conv", 0, 2_469_696), ("flatten", 9216, 0), ("fc", 4096, 37_752_832)]
    layers += [("rectifier", 4096, 0), ("fc", 4096, 16_781_312), ("fc", 1000, 4_097_000)]

    assert byte_account.split_of(layers) == ALEXNET_2014
    assert ALEXNET_2014.split == 37_752_832 + 16_781_312


@pytest.mark.parametrize(
    "layers",
    [
        [("flatten", 784, 0), ("fc", 10, 7850)],
        [("conv", 9, 5), ("fc", 4, 40), ("fc", 2, 10)],
        [("conv", 9, 5), ("flatten", 8, 0), ("fc", 4, 20), ("fc", 2, 10)],
    ],
    ids=["one layer", "nothing flattened", "in groups"],
)
def test_a_network_without_layers_to_split_has_no_hybrid_account(
    layers: list[tuple[str, int, int]],
) -> None:
    with pytest.raises(UsageError, match="no hidden fully connected layers"):
        byte_account.split_of(layers)


@pytest.mark.parametrize("num_workers", [2, 4, 8])
def test_all_hybrid_schemes_send_as_much_and_c_evenly(num_workers: int) -> None:
    data, a, b, c = byte_account.schemes(ALEXNET_2014, num_workers, 128)

    assert data.gradients == pytest.approx(8 * 61_100_840 * (num_workers - 1) / num_workers)
    assert a.forward == b.forward == c.forward
    assert a.backward == b.backward == c.backward
    assert (a.rounds, b.rounds, c.rounds) == (1, num_workers, num_workers)
    assert (a.assembled, b.assembled) == (128 * num_workers, 128)
    assert c.most_at_once * num_workers == pytest.approx(b.most_at_once)
    assert a.total < data.total


def test_the_break_even_batch_is_where_both_send_equally_much() -> None:
    batch = byte_account.break_even(ALEXNET_2014, 8)
    data, a, *_ = byte_account.schemes(ALEXNET_2014, 8, round(batch / 8))

    assert a.total == pytest.approx(data.total, rel=1e-3)
    assert byte_account.break_even(ALEXNET_2014, 2) == pytest.approx(batch)


def test_summary_prints_the_account_and_writes_the_same_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["summary", "model=alexnet_2014", "communication=8"]
    assert main([*words, "format=json"]) == 0
    found = json.loads(capsys.readouterr().out)["communication"]
    assert main(words) == 0
    text = capsys.readouterr().out

    rows = {row["scheme"]: row for row in found["schemes"]}
    assert list(rows) == ["data", "hybrid (a)", "hybrid (b)", "hybrid (c)"]
    whole = byte_account.hybrid(ALEXNET_2014, 8, 128)
    assert rows["hybrid (a)"]["total"] == whole.total
    for row in rows.values():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{row['scheme']}  ")]
        assert f"{row['total'] / 1e6:,.1f}" in line
    assert f"{found['break_even_batch']:,} images" in text
