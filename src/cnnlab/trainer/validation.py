"""What a validation measures: the network that is judged, and beside it the other weights."""

from cnnlab.config.ema import KINDS
from cnnlab.data.stream import InOrder
from cnnlab.evaluation import sharing
from cnnlab.trainer.assemble import Assembly
from cnnlab.training.hooks import Figures


def figures_of(parts: Assembly, batches: InOrder) -> Figures:
    """Return errors and loss of the judged weights, on the central view of the images.

    Where an average of the weights is kept, `raw_top1_error`, `raw_loss`, `ema_top1_error` and
    `ema_loss` are beside them, from a second pass. Raises EvaluationStopped in all processes when
    one was asked to stop.
    """
    should_stop = sharing.asked_to_stop(parts.peers)
    judged = parts.evaluate(batches, "center", should_stop)
    figures = {
        "top1_error": judged.top1_error,
        "top5_error": judged.top5_error,
        "loss": judged.cross_entropy,
    }
    if parts.average is None:
        return figures

    for kind in KINDS:
        tally = judged
        if kind != parts.config.which_weights:
            tally = parts.evaluate(batches, "center", should_stop, which_weights=kind)
        figures |= {f"{kind}_top1_error": tally.top1_error, f"{kind}_loss": tally.cross_entropy}
    return figures
