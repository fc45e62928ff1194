"""The largest values of settings: far above any use, and low enough that none is a bomb.

A number without an upper bound ends somewhere else: in the C library that starts a thousand million
threads, in folders without end, in a size that overflows. Here it ends with a message.
"""

MANY = 1_000_000_000
"""Images, steps, epochs, seconds: what nobody counts to."""

MOST_PIXELS = 16_384
"""The side of an image as a network is given it, border included."""

MOST_THREADS = 1_024
"""Threads or processes of one machine."""

MOST_MEMBERS = 10_000
"""Members of an ensemble."""

MOST_EMBEDDED = 1_000
"""Images in TensorBoard's projector: at most 5 KB each."""

MOST_SEED = 2**64 - 1
"""A seed of torch has 64 bits."""

MOST_FLOAT32 = 1e38
"""What enters arithmetic in float32, whose largest number is 3.4e38."""
