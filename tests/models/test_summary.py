"""The lecture's table."""

import torch

from cnnlab.models.summary import summarize


def test_document_has_the_public_keys(build):
    document = summarize(build("lenet5"), "lenet5").as_document()
    assert document["model"] == "lenet5"
    assert document["input_size"] == [1, 32, 32]
    assert document["num_parameters"] == 61_706
    assert document["num_multiply_adds"] == 416_520
    assert document["layers"][0] == {
        "name": "c1",
        "role": "conv",
        "output_size": [6, 28, 28],
        "num_parameters": 156,
        "num_multiply_adds": 117_600,
        "receptive_field_pixels": 5,
        "jump_pixels": 1,
        "size_formula": "floor((32 + 2·0 - 1·(5 - 1) - 1)/1 + 1) = 28",
        "parameter_formula": "6·1·5² + 6 = 156",
    }


def test_formulas_end_in_the_figures_beside_them(build):
    for row in summarize(build("alexnet", size=64, classes=10)).rows:
        if row.parameter_formula:
            assert row.parameter_formula.endswith(f"= {row.num_parameters:,}")
        if row.size_formula:
            assert row.size_formula.endswith(f"= {row.output_size[1]}")


def test_summing_up_changes_neither_weights_nor_mode_nor_random_state(build):
    network = build("lenet5", dropout=0.5)
    before, state = network.state_dict(), torch.random.get_rng_state()
    before = {key: value.clone() for key, value in before.items()}
    summarize(network)
    assert network.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_table_is_the_same_before_and_after_a_training_step(build):
    network = build("lenet5")
    before = summarize(network)
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert summarize(network) == before
