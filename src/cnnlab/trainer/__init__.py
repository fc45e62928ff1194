"""A training run: assembled, restored, trained, watched, saved and tested.

Reading order: run, assemble, trainer; then resume and snapshot, starting_weights, ensemble.
"""
