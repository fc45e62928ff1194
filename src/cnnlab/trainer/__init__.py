"""A training run: put together, resumed, watched, saved and tested."""
