#!/usr/bin/env bash
# Draw docs/gallery: train three small networks unless their runs exist, then visualize them.
# usage: scripts/gallery.sh [folder of the runs, default outputs/gallery]
# Needs Fashion-MNIST (docs/data.md); two to ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
cnnlab="${CNNLAB:-.venv/bin/cnnlab}"
runs="${1:-outputs/gallery}"
pictures="docs/gallery"

train() { # name, then overrides of cnnlab train; keeps the checkpoint of every epoch
    [ -d "$runs/$1" ] || "$cnnlab" train "${@:2}" saving.keep=40 hydra.run.dir="$runs/$1"
}
draw() { # name of the run, prefix of the files, then overrides of cnnlab visualize
    "$cnnlab" visualize checkpoint="$runs/$1" output="$runs/$2" formats=png "${@:3}"
    for file in "$runs/$2"/*.png; do cp "$file" "$pictures/$2_$(basename "$file")"; done
}

mkdir -p "$pictures"
train fashion experiment=lenet5_fashion
train digits experiment=quickstart trainer.epochs=50 model.dropout=0.2 loss.label_smoothing=0 optimizer.learning_rate=0.1
train templates model=linear dataset=fashion_mnist augment=none optimizer.learning_rate=0.005 \
    trainer.epochs=3 trainer.clip_gradient_norm=null

draw fashion fashion what=filters,filter_evolution,top9,evolution,occlusion,equivariance,invariance,neighbors,predictions,rejection
draw fashion boot what=activations,deconvnet indices=0
draw fashion gradient what=deconvnet indices=0 signal=gradient
draw fashion guided what=deconvnet indices=0 signal=guided
draw fashion kernels what=filters layer=c3
draw digits digits what=top9,neighbors,predictions,occlusion,invariance
draw templates templates what=filters

# the page to draw in, with three of its checkpoints, so that it stays small
[ -d "$runs/playground" ] || "$cnnlab" train experiment=quickstart trainer.epochs=50 \
    model.dropout=0.2 loss.label_smoothing=0 optimizer.learning_rate=0.1 \
    saving.every_epochs=1 saving.keep_spread=8 hydra.run.dir="$runs/playground"
mkdir -p "$runs/page/checkpoints"
for name in best step_00000055 step_00000275; do
    cp "$runs/playground/checkpoints/$name.safetensors" "$runs/page/checkpoints/"
done
"$cnnlab" visualize checkpoint="$runs/page/checkpoints/best.safetensors" what=playground output="$runs/page"
cp "$runs/page/playground.html" "$pictures/"

# the lecture's drawings need no run
mkdir -p docs/images/lecture
"$cnnlab" visualize what=lecture output="$runs/lecture" formats=png
cp "$runs"/lecture/*.png docs/images/lecture/
