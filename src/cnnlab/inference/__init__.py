"""From checkpoints back to networks: members of an ensemble, their evaluation, a predictor.

Reading order: network, members, datasets, evaluation, result, predictor, probing.
"""
