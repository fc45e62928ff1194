"""What the workers of a job cannot have together is refused before torch is imported."""

import pytest

from cnnlab.config import parse_train
from cnnlab.config.distributed import DATA, HYBRID
from cnnlab.distributed import SCHEMES
from cnnlab.errors import UsageError
from tests.test_config import composed

H = "distributed.scheme=hybrid"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("distributed.fc_batch=8", "fc_batch needs distributed.scheme=hybrid"),
        (f"{H} distributed.fc_batch=65", "fc_batch=65 exceeds trainer.batch_size=64"),
        ("distributed.simulate=65", "simulate=65 exceeds trainer.batch_size=64"),
        ("distributed.simulate=1", "simulate must be an integer at least 2"),
        (f"{H} trainer.accumulate=2", "scheme=hybrid does not work with trainer.accumulate"),
        ("distributed.simulate=2 trainer.accumulate=2", "simulate does not work with trainer.acc"),
        (f"{H} runtime.compile=true", "scheme=hybrid does not work with runtime.compile=true"),
        (f"{H} optimizer=levenberg_marquardt", "hybrid does not work with optimizer=levenberg"),
        (f"{H} distributed.fc_batch=8 loss.class_weights=balanced", "fc_batch does not work with"),
    ],
)
def test_workers_refuse_what_they_cannot_do_as_one(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_train(composed("train", *words.split()))


def test_one_update_for_the_whole_batch_takes_class_weights() -> None:
    words = [H, "distributed.fc_batch=64", "loss.class_weights=balanced", "distributed.simulate=4"]
    assert parse_train(composed("train", *words)).distributed.fc_batch == 64


def test_every_scheme_is_a_row() -> None:
    assert list(SCHEMES) == [DATA, HYBRID]
