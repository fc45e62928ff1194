"""Faster training on a CPU: fused layers and a pool of large buffers."""
