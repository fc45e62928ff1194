"""What makes a CPU faster: fused layers and a pool of large buffers."""
