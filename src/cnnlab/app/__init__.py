"""One file per command: what `cnnlab VERB` does, from its checked config to its exit code."""
