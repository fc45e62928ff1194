"""Settings of the commands: per command one file with its dataclass and its check."""
