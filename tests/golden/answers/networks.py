"""Lines that train a network and use it: train, evaluate, predict; what each needs before it."""

from tests.golden.answers import reading
from tests.golden.answers.bench import Case

CPU = "runtime.device=cpu runtime.num_threads=1"
SMALL = "dataset=synthetic dataset.num_train=64 dataset.num_validation=16 dataset.num_test=32"
LEAN = "logging.report=false logging.tensorboard=false"
BRIEF = f"trainer.epochs=1 trainer.batch_size=16 {LEAN} {CPU}"
SIX_STEPS = f"experiment=debug {CPU}"


def _train(name: str, words: str, *needs: str) -> Case:
    folder = f"runs/{name}"
    return Case(name, f"train {words} hydra.run.dir={folder}", needs, files=(folder,))


TRAIN = (
    _train("lenet5", SIX_STEPS),
    _train("lenet5_b", f"{SIX_STEPS} seed=1 logging.tensorboard=false logging.report=false"),
    _train(
        "alexnet",
        f"model=alexnet model.width=0.0625 {SMALL} augment=crop_mirror augment.force_mirror=true "
        f"evaluation=ten_view {BRIEF}",
    ),
    _train(
        "adamw",
        f"{SIX_STEPS} model=mlp optimizer=adamw schedule=cosine schedule.warmup_epochs=1 "
        "augment=affine trainer.accumulate=2 logging.report=false logging.tensorboard=false",
    ),
    _train(
        "photos",
        "dataset=folder dataset.root=photos dataset.image_size_pixels=40 "
        "dataset.num_validation=6 augment=resized_crop augment.crop_pixels=32 "
        f"optimizer=sgd_2012 schedule=constant {BRIEF}",
        "photos",
    ),
    _train(
        "stored",
        "dataset=store dataset.root=stores/uint8 dataset.image_size_pixels=32 augment=none "
        f"{BRIEF}",
        "prepare/uint8",
    ),
    _train(
        "head",
        f"{SIX_STEPS} model.weights=runs/lenet5 model.train_layers=head saving.every_steps=2 "
        "saving.keep=3 logging.tensorboard=false logging.report=false",
        "train/lenet5",
    ),
    _train("pair", f"{SIX_STEPS} ensemble.members=2 ensemble.at_once=1 trainer.epochs=1 {LEAN}"),
    Case(
        "sweep",
        f"train -m seed=3,4 {SIX_STEPS} trainer.epochs=1 logging.report=false "
        "logging.tensorboard=false hydra.sweep.dir=sweep 'hydra.sweep.subdir=seed${seed}'",
        files=("sweep",),
    ),
    Case(
        "composed",
        "train experiment=alexnet_2012_paper optimizer.momentum=0.8 --cfg job",
        look=reading.as_yaml,
    ),
)


def _evaluate(name: str, words: str, *needs: str, files: tuple[str, ...] = ()) -> Case:
    line = f"evaluate {words} {CPU} format=json"
    return Case(name, line, needs, reading.as_json, files or (f"tested/{name}",))


def _test(name: str, words: str, *needs: str) -> Case:
    return _evaluate(name, f"{words} output=tested/{name} save_probabilities=true", *needs)


BOTH = ("train/lenet5", "train/lenet5_b")
EVALUATE = (
    _test("center", "checkpoint=runs/lenet5", "train/lenet5"),
    _test("five_crop", "checkpoint=runs/lenet5 evaluation=five_crop", "train/lenet5"),
    _test(
        "grid_3x3",
        "checkpoint=runs/lenet5 evaluation=grid_3x3 evaluation.padding_pixels=3 split=validation",
        "train/lenet5",
    ),
    _test("ten_view", "checkpoint=runs/alexnet evaluation=ten_view", "train/alexnet"),
    _test(
        "ensemble",
        "checkpoint=runs/lenet5,runs/lenet5_b weights=[1,3] batch_size=300",
        *BOTH,
    ),
    _test(
        "last",
        "checkpoint=runs/lenet5/checkpoints/step_00000003.safetensors split=train",
        "train/lenet5",
    ),
    _test("pair", "checkpoint=runs/pair", "train/pair"),
    _test("latest", "checkpoint=latest", "outputs"),
    _test("store", "checkpoint=runs/stored", "train/stored"),
    _test("photos", "checkpoint=runs/photos", "train/photos"),
    _test(
        "another_set", f"checkpoint=runs/alexnet {SMALL} dataset.noise_levels=9", "train/alexnet"
    ),
    _test("plain", "checkpoint=lenet5_back.safetensors", "convert/back"),
    _evaluate(
        "in_the_run_folder",
        "checkpoint=runs/copied",
        "train/lenet5",
        "copied_run",
        files=("runs/copied",),
    ),
    Case("words", f"evaluate checkpoint=runs/lenet5 output=tested/words {CPU}", ("train/lenet5",)),
)


def _predict(name: str, words: str, *needs: str, form: str = "json") -> Case:
    look = reading.as_json if form == "json" else reading.as_csv
    line = f"predict {words} format={form} {CPU}"
    return Case(name, line, ("pictures", *needs), look)


PREDICT = (
    _predict("digits", "checkpoint=runs/lenet5 images=pictures", "train/lenet5"),
    _predict("csv", "checkpoint=runs/lenet5 images=pictures top=2", "train/lenet5", form="csv"),
    _predict("as_is", "checkpoint=runs/lenet5 images=pictures pictures=as_is", "train/lenet5"),
    _predict(
        "several",
        "checkpoint=runs/lenet5,runs/lenet5_b images=pictures/one.png,pictures/paper.jpg "
        "evaluation=five_crop top=10",
        *BOTH,
    ),
    _predict(
        "views", "checkpoint=runs/alexnet images=pictures evaluation=ten_view", "train/alexnet"
    ),
    _predict(
        "classes", "checkpoint=runs/stored images=photos/test/cat top=3", "train/stored", form="csv"
    ),
    Case("words", f"predict checkpoint=runs/lenet5 images=pictures {CPU}", ("pictures", *BOTH)),
)
