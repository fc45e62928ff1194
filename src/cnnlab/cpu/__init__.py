"""What makes the CPU fast and changes no result."""
