"""Standard output and standard error that fail, under every command."""
