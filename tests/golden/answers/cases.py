"""Every line whose answer is kept, one group per file of answers; `needs` names what it uses."""

from functools import partial

from tests.golden.answers import looks, reading
from tests.golden.answers.bench import FACE, Case
from tests.golden.answers.networks import BOTH, CPU, EVALUATE, PREDICT, SMALL, TRAIN

MODELS = (
    "alexnet",
    "alexnet_2014",
    "alexnet_cifar",
    "alexnet_two_gpu",
    "alexnet_two_tower",
    "cifar_11pct",
    "cifar_13pct",
    "four_layer",
    "lenet5",
    "lenet5_1998",
    "linear",
    "mlp",
    "zfnet",
)
VERBS = (
    "train",
    "evaluate",
    "predict",
    "summary",
    "list",
    "copy",
    "compare",
    "prepare",
    "convert",
    "visualize",
    "benchmark",
)

SUMMARY = (
    *(Case(name, f"summary model={name} format=json", (), reading.as_json) for name in MODELS),
    *(
        Case(name, f"summary format=json {words}", (), reading.as_json)
        for name, words in (
            ("alexnet_64", "model=alexnet input_size_pixels=64 in_channels=1 num_classes=10"),
            ("alexnet_narrow", "model=alexnet model.width=0.25 model.geometry=227"),
            ("alexnet_layers", "model=alexnet model.width=0.25 model.without_layers=[conv4,fc7]"),
            ("towers_narrow", "model=alexnet_two_tower model.width=0.125 model.order=source"),
            ("lenet5_wide", "model=lenet5 model.width=2 model.pooling=average in_channels=3"),
            ("lenet5_48", "model=lenet5 input_size_pixels=48"),
            ("mlp_deep", "model=mlp model.hidden_units=[50,20] num_classes=3"),
            ("cifar_100", "model=cifar_11pct num_classes=100"),
            ("cifar_wide", "model=alexnet_cifar model.width=1.5 input_size_pixels=40"),
            ("start_lenet5", "model=lenet5 init_report=true num_images=32 seed=3"),
            (
                "start_alexnet",
                "model=alexnet_cifar model.width=0.5 init_report=true num_images=16 seed=1 "
                "dataset=synthetic",
            ),
        )
    ),
    Case("words", "summary model=lenet5 init_report=true"),
)

LIST = (
    Case("models", "list models format=json", (), looks.names),
    Case("experiments", "list what=experiments format=json", (), looks.names),
    Case("datasets", "list datasets format=json", (), looks.sets),
    Case("runs", "list runs format=json", ("train/lenet5", "outputs"), reading.as_json),
    Case("words", "list runs", ("train/lenet5", "outputs")),
)

COMPARE = (
    Case("two", "compare runs=runs/lenet5,runs/lenet5_b format=json", BOTH, reading.as_json),
    Case(
        "three",
        "compare runs=runs/lenet5,runs/alexnet,runs/head format=json output=three.html",
        ("train/lenet5", "train/alexnet", "train/head"),
        reading.as_json,
        ("three.html",),
    ),
    Case("words", "compare runs=runs/lenet5,runs/lenet5_b", BOTH),
)


def _prepare(name: str, words: str) -> Case:
    line = f"prepare dataset.root=photos output=stores/{name} num_threads=1 {words}"
    return Case(name, line, ("photos",), files=(f"stores/{name}",))


PREPARE = (
    _prepare("uint8", "side_pixels=32"),
    _prepare("bicubic", "side_pixels=24 kernel=bicubic shard_megabytes=1 dataset.num_test=0"),
    _prepare("jpeg", "side_pixels=40 encoding=jpeg quality=80"),
    Case(
        "gray",
        "prepare dataset=mnist5k output=stores/gray num_threads=1",
        files=("stores/gray",),
    ),
    Case("verify", "prepare output=stores/uint8 verify=true", ("prepare/uint8",)),
)


def _convert(name: str, source: str, output: str, *needs: str, words: str = "") -> Case:
    line = f"convert source={source} output={output} {words}"
    return Case(name, line, needs, files=(output,))


CONVERT = (
    _convert("plain", "runs/lenet5", "lenet5_plain.safetensors", "train/lenet5"),
    _convert("plain_alexnet", "runs/alexnet", "alexnet_plain.safetensors", "train/alexnet"),
    _convert(
        "back",
        "lenet5_plain.safetensors",
        "lenet5_back.safetensors",
        "convert/plain",
        words="dataset=mnist5k",
    ),
    _convert(
        "torchvision",
        "torchvision.pth",
        "taken_in.safetensors",
        "torchvision_weights",
        "class_names",
        words="class_names=names.txt",
    ),
    _convert("out_again", "taken_in.safetensors", "given_out.pth", "convert/torchvision"),
)

FEW = f"num_images=2 num_units=4 search_images=100 {CPU}"
MOST = "filters,activations,deconvnet,top9,occlusion,equivariance,invariance,predictions"

VISUALIZE = (
    Case(
        "lenet5",
        f"visualize checkpoint=runs/lenet5 what=all formats=[png] output=drawn/lenet5 {FEW}",
        ("train/lenet5",),
        files=("drawn/lenet5",),
    ),
    Case(
        "alexnet",
        f"visualize checkpoint=runs/alexnet what={MOST} formats=[png] output=drawn/alexnet {FEW}",
        ("train/alexnet",),
        files=("drawn/alexnet",),
    ),
    Case(
        "chosen",
        "visualize checkpoint=runs/lenet5 what=deconvnet,filters layer=c3 units=[1,5] "
        f"indices=[7,2] signal=guided split=validation output=drawn/chosen {CPU}",
        ("train/lenet5",),
        files=("drawn/chosen",),
    ),
    Case(
        "own_pictures",
        "visualize checkpoint=runs/alexnet what=occlusion images=pictures/wide.jpg "
        f"formats=[png] output=drawn/own {CPU}",
        ("train/alexnet", "pictures"),
        files=("drawn/own",),
    ),
)

SHORTEST = f"seconds_per_part=0.001 format=json {CPU}"
BENCHMARK = (
    Case("lenet5", f"benchmark {SHORTEST}", (), looks.timings),
    Case(
        "alexnet",
        f"benchmark model=alexnet model.width=0.0625 {SMALL} trainer.batch_size=16 {SHORTEST}",
        (),
        looks.timings,
    ),
)

HELP = tuple(Case("help", f"{verb} --help", (), looks.help_page) for verb in VERBS)


PYTHON = (
    Case(
        "run",
        f"{FACE} load a run",
        ("pictures", "train/lenet5"),
        partial(looks.loaded, "runs/lenet5"),
    ),
    Case(
        "ensemble",
        f"{FACE} load a list",
        ("pictures", *BOTH),
        partial(looks.loaded, "runs/lenet5", "runs/lenet5_b/checkpoints/last.safetensors"),
    ),
    Case(
        "color",
        f"{FACE} load a checkpoint",
        ("pictures", "train/alexnet"),
        partial(looks.loaded, "runs/alexnet/checkpoints/best.safetensors"),
    ),
)

GROUPS: dict[str, tuple[Case, ...]] = {
    "train": TRAIN,
    "evaluate": EVALUATE,
    "predict": PREDICT,
    "summary": SUMMARY,
    "list": LIST,
    "compare": COMPARE,
    "prepare": PREPARE,
    "convert": CONVERT,
    "visualize": VISUALIZE,
    "benchmark": BENCHMARK,
    "help": HELP,
    "python": PYTHON,
}
"""File of answers -> its cases."""

CASES = {case.key: case for group in GROUPS.values() for case in group}
