"""Self-contained pages, and the pictures on them."""
