"""Weights trained elsewhere -> checkpoints; checkpoints -> ONNX, safetensors, torchvision.

Reading order: inert_pickle, foreign_weights, plain_weights, into_checkpoint, export, partial_file.
"""
