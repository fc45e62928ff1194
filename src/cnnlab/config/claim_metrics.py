"""The metrics of claims: what is measured of an arm, in which unit, and what it is paired over."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.tables import load_by_name


@dataclass(frozen=True)
class Metric:
    """What is measured of each arm.

    unit: percent (a fraction, shown in percent), count, or number. per: what the figures are paired
    over: seeds, images, or network where nothing is trained. builder: "package.module:function",
    (`reproduction.measure.Arm`) -> a float for each seed or image; for network TrainConfig ->
    floats. needs_target: whether the claim gives it a number. chooser: (run, target) -> the figure
    whose least an arm may choose a setting by, None where the run did not get there; empty for what
    looks at test images. other_set: an image set that it needs beside those of the arms.
    curve: (arm) -> pairs of fractions that a row shows beside its figures, the mean of the runs.
    """

    about: str
    unit: str
    per: str
    builder: str
    needs_target: bool = False
    chooser: str = ""
    other_set: str = ""
    curve: str = ""

    def load(self) -> Any:
        """Return the function that measures, imported now."""
        return load_by_name(f"cnnlab.reproduction.{self.builder}")

    def load_chooser(self) -> Any:
        """Return the function that a search chooses by, imported now."""
        return load_by_name(f"cnnlab.reproduction.{self.chooser}")

    def load_curve(self) -> Any:
        """Return the function that gives a curve, imported now."""
        return load_by_name(f"cnnlab.reproduction.{self.curve}")


METRICS = {
    "test_error": Metric("test error", "percent", "seeds", "measure:test_errors"),
    "overfitting": Metric(
        "test error minus training error", "percent", "seeds", "measure:overfitting"
    ),
    "updates_to_loss": Metric(
        "updates until the training loss is below the target",
        "count",
        "seeds",
        "measure:updates_to_loss",
        needs_target=True,
        chooser="measure:updates_of_run",
    ),
    "gain_of_views": Metric(
        "error of the center view minus error of ten views, same networks",
        "percent",
        "images",
        "measure:gain_of_views",
    ),
    "gain_of_ensemble": Metric(
        "mean error of the members minus error of their ensemble",
        "percent",
        "images",
        "measure:gain_of_ensemble",
    ),
    "gain_of_rejection": Metric(
        "error of all images minus error of the rest when the least certain are rejected",
        "percent",
        "seeds",
        "measure:gain_of_rejection",
        needs_target=True,
        curve="measure:rejection_curve",
    ),
    "dead_kernels": Metric(
        "share of the first layer's kernels that hardly answer to any test image",
        "percent",
        "seeds",
        "kernels:dead_kernels",
        needs_target=True,
    ),
    "tower_color": Metric(
        "how much more the towers' first kernels differ in color than random halves of them",
        "percent",
        "seeds",
        "kernels:tower_color",
    ),
    "updates_to_minimum": Metric(
        "updates until the validation loss is at its minimum",
        "count",
        "seeds",
        "measure:updates_to_minimum",
    ),
    "shared_neighbors": Metric(
        "share of the 6 nearest training images in the last hidden layer that are also among the 6 "
        "nearest in pixels",
        "percent",
        "images",
        "neighborhood:shared_neighbors",
    ),
    "gain_of_features": Metric(
        "share of the image's class among its 6 nearest training images, in the last hidden layer "
        "minus in pixels",
        "percent",
        "images",
        "neighborhood:gain_of_features",
    ),
    "gain_of_depth": Metric(
        "error of a linear read-out of the first pooling minus one of the last hidden layer",
        "percent",
        "seeds",
        "readout:gain_of_depth",
    ),
    "gain_of_depth_elsewhere": Metric(
        "error of a linear read-out of the first pooling minus one of the last hidden layer, on "
        "digits that the network was not trained on",
        "percent",
        "seeds",
        "readout:gain_of_depth_elsewhere",
    ),
    "stability_of_depth": Metric(
        "relative change of the first convolution under small shifts and scalings minus that of "
        "the last hidden layer",
        "percent",
        "seeds",
        "moving:stability_of_depth",
    ),
    "equivariance_error": Metric(
        "relative error of the first convolution's maps of shifted images against its shifted maps",
        "number",
        "seeds",
        "moving:equivariance_error",
    ),
    "answers_changed": Metric(
        "share of test images whose class changes when they move by so many pixels, mean of four "
        "directions",
        "percent",
        "seeds",
        "moving:answers_changed",
        needs_target=True,
    ),
    "late_features": Metric(
        "likeness of a layer to its finished self, mean over the kept checkpoints: first "
        "convolution minus last",
        "number",
        "seeds",
        "development:late_features",
    ),
    "found_objects": Metric(
        "share of images whose largest loss of probability under a gray square is where the object "
        "is, minus the share of such places",
        "percent",
        "images",
        "occluding:found_objects",
    ),
    "rejects_strangers": Metric(
        "how well certainty tells test images from those of Fashion-MNIST: area under the ROC "
        "curve",
        "percent",
        "seeds",
        "strangers:rejects_strangers",
        other_set="fashion_mnist",
    ),
    "parameter_excess": Metric(
        "how many more parameters than the two towers of 2012",
        "percent",
        "network",
        "computed:parameter_excess",
    ),
    "num_parameters": Metric(
        "trainable parameters", "number", "network", "computed:num_parameters"
    ),
    "fc_share": Metric(
        "share of the parameters in fully connected layers",
        "percent",
        "network",
        "computed:fc_share",
    ),
    "receptive_fields": Metric(
        "receptive fields of convolutions and poolings, in pixels",
        "number",
        "network",
        "computed:receptive_fields",
    ),
    "lecture_total": Metric(
        "parameters with 100 classes, one hidden bias vector left out",
        "number",
        "network",
        "computed:lecture_total",
    ),
}
"""The metrics of claims."""
