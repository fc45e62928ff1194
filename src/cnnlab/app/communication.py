"""`cnnlab summary communication=K`: what K workers exchange in one update, by formula."""

import math
from typing import Any

from cnnlab.console import Console
from cnnlab.distributed import byte_account
from cnnlab.distributed.byte_account import Account, Split
from cnnlab.models.summary import Summary

MEGABYTE = 1e6


class Communication:
    """The accounts of data parallelism and of the three hybrid schemes of 2014 for one network.

    Raises UsageError for a network without hidden fully connected layers.
    """

    def __init__(self, summary: Summary, num_workers: int, images_per_worker: int) -> None:
        layers = [
            (row.role, math.prod(row.output_size), row.num_parameters) for row in summary.rows
        ]
        self._network: Split = byte_account.split_of(layers)
        self._num_workers, self._images = num_workers, images_per_worker
        self._accounts = byte_account.schemes(self._network, num_workers, images_per_worker)
        self._break_even = byte_account.break_even(self._network, num_workers)

    def as_document(self) -> dict[str, Any]:
        """Return all figures as plain data, in bytes."""
        return {
            "num_workers": self._num_workers,
            "images_per_worker": self._images,
            "break_even_batch": round(self._break_even),
            "schemes": [account.as_document() for account in self._accounts],
        }

    def print(self) -> None:
        """Print the table, the formulas with their numbers, and when which scheme pays."""
        console = Console(progress=False)
        console.line()
        console.table(
            ("scheme", "gradients", "forward", "backward", "sum", "rounds", "at once", "together"),
            [_cells(account) for account in self._accounts],
            title=f"megabytes that each of {self._num_workers} workers sends for one update of "
            f"{self._images} images each",
        )

        console.line()
        console.line("at once: of features, by one worker in one round; together: images in memory")
        for line in self._formulas():
            console.line(f"  {line}")
        console.line(
            f"data and hybrid send equally much at a global batch of {self._break_even:,.0f} "
            "images; below it the hybrid sends less."
        )

    def _formulas(self) -> list[str]:
        network, workers = self._network, self._num_workers
        images = workers * self._images
        share = f"{workers - 1}/{workers}"
        inputs = " + ".join(f"{each:,}" for each, _ in network.layers)
        units = " + ".join(f"{each:,}" for _, each in network.layers)

        parameters = network.replicated + network.split + network.whole
        return [
            f"data: gradients 2·{share}·4·{parameters:,}",
            f"hybrid: gradients of convolutions 2·{share}·4·{network.replicated:,}",
            f"hybrid: forward {share}·4·{images:,}·({network.features:,} + {units})",
            f"hybrid: backward 2·{share}·4·{images:,}·({inputs})",
        ]


def _cells(account: Account) -> list[str]:
    figures = (account.gradients, account.forward, account.backward, account.total)
    rounds = str(account.rounds) if account.rounds else "-"
    at_once = f"{account.most_at_once / MEGABYTE:,.1f}" if account.rounds else "-"
    together = f"{account.assembled:,}" if account.rounds else "-"
    return [
        account.scheme,
        *(f"{figure / MEGABYTE:,.1f}" if figure else "-" for figure in figures),
        rounds,
        at_once,
        together,
    ]
