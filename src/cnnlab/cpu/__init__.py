"""Training on a CPU: processors and threads, fused layers, a pool of large buffers."""
