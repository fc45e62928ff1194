"""What the net trains and evaluates: one row per case, its words as one would type them.

Every choice of the groups model, optimizer, augment, schedule and evaluation is in some row, which
test_traces.py checks, and every other setting that changes arithmetic is varied at least once.
"""

from pathlib import Path

CONFIGS = Path(__file__).parents[3] / "configs"
COLOR = "color" if "color_scale" in (CONFIGS / "augment/alexnet.yaml").read_text() else "colour"
"""How the keys of the color shifts are spelled: the net was written before they were renamed."""

COMMON = (
    "runtime.device=cpu runtime.num_threads=1 trainer.epochs=2 trainer.batch_size=16 "
    "trainer.log_every_steps=1 logging.progress=false logging.tensorboard=false "
    "logging.report=false logging.images_every_epochs=null"
)
"""Of every training; a row's own words follow and win."""

COLORED = "dataset=synthetic dataset.num_train=88 dataset.num_validation=32 dataset.num_test=32"
"""56 training images of 32x32x3: three batches of 16 and one of 8 per epoch."""
DIGITS = "dataset=mnist5k trainer.limit_train_batches=4"
PICTURES = (
    "dataset=folder dataset.root={pictures} dataset.image_size_pixels=24 dataset.num_validation=9 "
    "dataset.num_test=9 trainer.batch_size=8"
)
STORED = "model=linear dataset.image_size_pixels=24 dataset.num_validation=9 trainer.batch_size=8"
PLAIN = f"model=lenet5 augment=none schedule=constant {COLORED}"
"""LeNet-5 with nothing around it, for rows that are about one other thing."""
NARROW = f"model.width=0.0625 augment=none schedule=constant {COLORED}"
"""For the AlexNets, whose smallest images are of 64x64."""
LECUN = f"model=lenet5_1998 dataset.normalize=lenet5_1998 trainer.batch_size=8 {DIGITS}"

MODELS = {
    "linear": f"model=linear {DIGITS}",
    "mlp": f"model=mlp model.hidden_units=[32] {DIGITS}",
    "mlp-deep": f"model=mlp model.hidden_units=[32,16] model.activation=tanh model.dropout=0.3 "
    f"augment=none {DIGITS}",
    "lenet5": f"model=lenet5 {DIGITS}",
    "lenet5-colored": f"optimizer=sgd {PLAIN}",
    "lenet5-dropout": f"model.dropout=0.4 model.width=1.5 {PLAIN}",
    "lenet5-tanh": f"model.activation=tanh model.pooling=average {PLAIN}",
    "lenet5-sigmoid": f"model.activation=sigmoid model.width=0.5 {PLAIN}",
    "lenet5-xavier": f"model.initialization=xavier {PLAIN}",
    "lenet5-torch": f"model.initialization=torch {PLAIN}",
    "lenet5_1998": f"{LECUN} augment=none optimizer=sgd model.loss=discriminative_distance",
    "lenet5_1998-squared": f"{LECUN} augment=none optimizer=sgd model.loss=squared_distance "
    "model.initialization=literal",
    "alexnet": f"model=alexnet {NARROW}",
    "alexnet-227": f"model=alexnet model.geometry=227 model.normalization=source "
    f"model.order=source model.initialization=source {NARROW}",
    "alexnet-pad2": f"model=alexnet model.geometry=224_pad2 model.pooling=non_overlapping "
    f"model.normalization=none model.initialization=caffe model.dropout_place=before "
    f"model.dropout_scaling=train {NARROW}",
    "alexnet-shallow": f"model=alexnet model.without_layers=[conv3,conv4,fc7] "
    f"model.initialization=paper model.activation=tanh {NARROW}",
    "alexnet-single": f"model=alexnet model.head=single model.dropout=0.2 {NARROW}",
    "alexnet-half": f"model=alexnet model.half_kernels=true model.conv6=true {NARROW}",
    "alexnet-batch": f"model=alexnet model.normalization=batch trainer.accumulate=2 {NARROW}",
    "two_tower": f"model=alexnet_two_tower {NARROW}",
    "two_tower-source": f"model=alexnet_two_tower model.order=source model.normalization=source "
    f"model.dropout_scaling=train model.initialization=source {NARROW}",
    "two_tower-shallow": f"model=alexnet_two_tower model.without_layers=[conv4,fc6] {NARROW}",
    "two_tower-apart": f"model=alexnet_two_tower model.exchange=none {NARROW}",
    "two_tower-fc6": f"model=alexnet_two_tower model.exchange=fc6 model.without_layers=[conv3] "
    f"{NARROW}",
    "two_gpu": f"model=alexnet_two_gpu model.devices=[cpu,cpu] {NARROW}",
    "two_gpu-single": f"model=alexnet_two_gpu model.devices=[cpu,cpu] model.head=single "
    f"model.geometry=227 model.pooling=non_overlapping trainer.accumulate=2 {NARROW}",
    "alexnet_2014": f"model=alexnet_2014 {NARROW}",
    "alexnet_2014-227": f"model=alexnet_2014 model.geometry=227 model.normalization=paper "
    f"model.dropout_place=after model.initialization=torch {NARROW}",
    "alexnet_cifar": f"model=alexnet_cifar {NARROW}",
    "alexnet_cifar-source": f"model=alexnet_cifar model.normalization=source "
    f"model.dropout_place=before model.activation=sigmoid {NARROW}",
    "zfnet": f"model=zfnet trainer.max_filter_rms=0.05 {NARROW}",
    "cifar_11pct": f"model=cifar_11pct model.local_channels=[8,8] augment=crop_mirror {COLORED}",
    "cifar_11pct-after": "model=cifar_11pct model.normalization=after_pooling "
    f"model.local_channels=[8] augment=none {COLORED}",
    "cifar_13pct": f"model=cifar_13pct model.local_channels=[8,8] augment=none {COLORED}",
    "cifar_13pct-before": "model=cifar_13pct model.normalization=before_pooling "
    f"model.local_channels=[8,4] augment=none {COLORED}",
    "four_layer": f"model=four_layer augment=none {COLORED}",
    "four_layer-tanh": f"model=four_layer model.activation=tanh model.width=0.5 augment=none "
    f"{COLORED}",
}

SMALL_IMAGENET = (
    f"{COLORED} dataset.image_size_pixels=72 augment.crop_pixels=64 model.width=0.0625 "
    "trainer.epochs=2 trainer.batch_size=16"
)
RECIPES = {
    "paper_2012": f"experiment=alexnet_2012_paper {SMALL_IMAGENET}",
    "source_2012": f"experiment=alexnet_2012_source {SMALL_IMAGENET} "
    "schedule.at_epochs=[0.5,1,1.5] optimizer.groups=[] augment.color_epochs=null",
    "imagenet_2014": f"experiment=alexnet_2014_imagenet {SMALL_IMAGENET}",
    "lenet5_of_1998": "experiment=lenet5_1998 trainer.epochs=2 trainer.limit_train_batches=4 "
    "optimizer.num_curvature_images=30 schedule.at_epochs=[0.5,1,1.5,1.75] "
    "augment.squeeze_fraction=0",
}
"""Whole experiments at a smaller size: many settings at once, as they are used."""

OPTIMIZERS = {
    "sgd-plain": f"optimizer=sgd optimizer.momentum=0 optimizer.weight_decay=0 {PLAIN}",
    "sgd-biases": f"optimizer=sgd optimizer.learning_rate=0.03 optimizer.weight_decay=0.1 "
    f"optimizer.decay_biases=false optimizer.bias_rate_factor=2 {PLAIN}",
    "sgd_2012": f"optimizer=sgd_2012 schedule=cosine schedule.warmup_epochs=0.5 {DIGITS}",
    "sgd_2012-biases": f"optimizer=sgd_2012 optimizer.weight_decay=0.1 "
    f"optimizer.decay_biases=false optimizer.bias_rate_factor=2 {PLAIN}",
    "adamw": f"optimizer=adamw {PLAIN}",
    "adamw-biases": f"optimizer=adamw optimizer.beta1=0.8 optimizer.beta2=0.95 "
    f"optimizer.epsilon=1e-3 optimizer.weight_decay=0.2 optimizer.decay_biases=true "
    f"optimizer.bias_rate_factor=0.5 {PLAIN}",
    "levenberg_marquardt": f"optimizer=levenberg_marquardt optimizer.num_curvature_images=40 "
    f"augment=affine {LECUN}",
    "levenberg_marquardt-damped": f"optimizer=levenberg_marquardt optimizer.damping=0.1 "
    f"optimizer.num_curvature_images=20 optimizer.learning_rate=0.001 "
    f"optimizer.weight_decay=0.01 optimizer.bias_rate_factor=2 trainer.clip_gradient_norm=5 "
    f"schedule=constant augment=none {LECUN}",
}

AUGMENTS = {
    "none": f"augment=none schedule=constant model=mlp model.hidden_units=[8] {DIGITS}",
    "crop": f"augment=crop {COLORED}",
    "crop-28": f"augment=crop augment.padding_pixels=1 augment.crop_pixels=28 {COLORED}",
    "crop_mirror": f"augment=crop_mirror {COLORED}",
    "crop_mirror-forced": f"augment=crop_mirror augment.force_mirror=true {DIGITS}",
    "affine": f"augment=affine augment.squeeze_fraction=0.1 {COLORED}",
    "alexnet-stdev": f"augment=alexnet augment.crop_pixels=28 {COLORED}",
    "alexnet-eigenvalue": f"augment=alexnet augment.{COLOR}_scale=eigenvalue "
    f"augment.{COLOR}_strength=0.5 augment.{COLOR}_divides=true augment.crop_pixels=28 "
    f"augment.images_per_draw=4 dataset.normalize=pixel {COLORED}",
    "alexnet-cropped_mean": f"augment=alexnet augment.{COLOR}_scale=none "
    f"augment.mean_position=cropped augment.crop_pixels=28 dataset.normalize=pixel {COLORED}",
    "resized_crop": f"augment=resized_crop augment.crop_pixels=28 {COLORED}",
    "resized_crop-large": f"augment=resized_crop augment.crop_pixels=24 "
    f"augment.min_area_fraction=0.5 augment.force_mirror=true {DIGITS}",
}

SCHEDULES = {
    "constant": f"schedule=constant augment=none model=linear {COLORED}",
    "step": f"schedule=step schedule.at_epochs=[0.5,1.25] schedule.factor=0.3 {COLORED}",
    "table": "schedule=table schedule.at_epochs=[0.75,1.5] schedule.fractions=[1.0,0.5,0.1] "
    f"optimizer=sgd_2012 {COLORED}",
    "cosine": f"schedule=cosine schedule.warmup_epochs=0.5 schedule.final_fraction=0.1 {COLORED}",
    "one_cycle": f"schedule=one_cycle schedule.peak_fraction=0.4 schedule.start_fraction=0.2 "
    f"schedule.final_fraction=0.1 {COLORED}",
    "plateau": "schedule=plateau schedule.patience_epochs=0 schedule.max_drops=2 "
    f"schedule.factor=0.5 optimizer.learning_rate=1e-5 trainer.epochs=5 {COLORED}",
}

DATA = {
    "pixel_mean": f"dataset.normalize=pixel {PLAIN}",
    "gray": f"dataset.channels=1 {PLAIN}",
    "digits_as_color": f"dataset.channels=3 augment=crop {DIGITS}",
    "permuted": f"dataset.permutation_seed=3 augment=none model=linear {DIGITS}",
    "other_split": f"dataset.split_seed=1 model=linear {DIGITS}",
    "resized_digits": f"dataset.image_size_pixels=40 dataset.pad_pixels=4 {DIGITS}",
    "padded": f"dataset.pad_pixels=3 dataset.noise_levels=10 dataset.num_classes=5 {PLAIN}",
    "on_host": f"dataset.residency=host augment=crop_mirror {COLORED}",
    "folder": f"model=linear augment=crop {PICTURES}",
    "folder-mirrored": f"model=mlp model.hidden_units=[16] augment=crop_mirror "
    f"dataset.residency=host dataset.channels=1 {PICTURES}",
    "store-mapped": f"dataset=store dataset.root={{store}} dataset.residency=mapped {STORED}",
    "store-on_device": f"dataset=store dataset.root={{store}} augment=crop_mirror {STORED}",
}

TRAINER = {
    "accumulate": f"trainer.accumulate=3 {PLAIN}",
    "accumulate-dropout": f"trainer.accumulate=2 model.dropout=0.5 {PLAIN}",
    "clipped": f"trainer.clip_gradient_norm=0.1 {PLAIN}",
    "unclipped": f"trainer.clip_gradient_norm=null optimizer.learning_rate=0.01 {PLAIN}",
    "one_batch": f"trainer.overfit_one_batch=true {PLAIN}",
    "early_stop": f"trainer.early_stop_epochs=1 trainer.epochs=6 optimizer.learning_rate=1e-5 "
    f"{PLAIN}",
    "rarely_validated": f"trainer.validate_every_epochs=2 trainer.epochs=3 {PLAIN}",
    "other_seed": f"seed=7 model.dropout=0.2 {PLAIN} augment=crop_mirror",
    "bf16": f"runtime.precision=bf16 {PLAIN}",
    "channels_first": f"runtime.channels_last=false {PLAIN}",
    "tested_by_views": f"evaluation=grid_3x3 {PLAIN} augment=crop",
    "ensemble": f"ensemble.members=2 ensemble.at_once=2 evaluation=five_crop {PLAIN} augment=crop",
}

FINE_TUNING = {
    "head": f"model.weights={{crop}} model.replace_head=true model.train_layers=head {PLAIN}",
    "from_f6": f"model.weights={{crop}} model.train_layers=from:f6 dataset.normalize=checkpoint "
    f"dataset.split_seed=2 {PLAIN} augment=crop",
    "all_layers": f"model.weights={{crop}} model.dropout=0.3 optimizer=adamw {PLAIN}",
    "alexnet-head": "model.weights={alexnet} model=alexnet model.replace_head=true "
    f"model.train_layers=from:fc7 dataset.num_classes=4 {NARROW}",
}
"""`{crop}` is the run folder of the case `crop`."""

TRAININGS: dict[str, str] = {}
for group in (MODELS, RECIPES, OPTIMIZERS, AUGMENTS, SCHEDULES, DATA, TRAINER, FINE_TUNING):
    assert not TRAININGS.keys() & group.keys(), "two cases have the same name"
    TRAININGS |= group
"""Name -> words of `cnnlab train`."""

RESUMED = {"lenet5-dropout": "trainer.epochs=3"}
"""Case -> words with which its run is resumed once it is done, as part of its trace."""

EVALUATIONS = {
    "evaluate-center": "checkpoint={crop} evaluation=center",
    "evaluate-five_crop": "checkpoint={crop} evaluation=five_crop",
    "evaluate-ten_view": "checkpoint={crop_mirror} evaluation=ten_view",
    "evaluate-grid_3x3": "checkpoint={crop} evaluation=grid_3x3",
    "evaluate-wide_border": "checkpoint={crop_mirror} evaluation=ten_view "
    "evaluation.padding_pixels=6",
    "evaluate-without_border": "checkpoint={crop-28} evaluation=five_crop "
    "evaluation.padding_pixels=0",
    "evaluate-crop-28": "checkpoint={crop-28} evaluation=grid_3x3",
    "evaluate-alexnet-ten_view": "checkpoint={alexnet-stdev} evaluation=ten_view",
    "evaluate-mean-center": "checkpoint={alexnet-eigenvalue} evaluation=center",
    "evaluate-mean-ten_view": "checkpoint={alexnet-eigenvalue} evaluation=ten_view",
    "evaluate-cropped_mean-center": "checkpoint={alexnet-cropped_mean} evaluation=center",
    "evaluate-cropped_mean-ten_view": "checkpoint={alexnet-cropped_mean} evaluation=ten_view",
    "evaluate-resized_crop": "checkpoint={resized_crop} evaluation=ten_view",
    "evaluate-distances": "checkpoint={lenet5_1998} evaluation=center",
    "evaluate-two_gpu": "checkpoint={two_gpu} evaluation=five_crop evaluation.padding_pixels=4",
    "evaluate-bf16": "checkpoint={crop} evaluation=center runtime.precision=bf16",
    "evaluate-channels_first": "checkpoint={crop} evaluation=center runtime.channels_last=false",
    "evaluate-validation": "checkpoint={crop} evaluation=center split=validation batch_size=5",
    "evaluate-train": "checkpoint={crop} evaluation=center split=train",
    "evaluate-two_networks": "checkpoint=[{crop},{crop_mirror}] evaluation=five_crop",
    "evaluate-weighted": "checkpoint=[{crop},{crop_mirror}] weights=[1,3] evaluation=center",
    "evaluate-members": "checkpoint={ensemble} evaluation=center",
}
"""Name -> words of `cnnlab evaluate`; `{crop}` is the run folder of that training."""
