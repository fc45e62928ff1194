"""One file a command, and the wiring they share: the only place where the rooms meet."""
