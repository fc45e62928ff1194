"""Everything that ends a command, each with its exit code.

A message has up to three lines: what is wrong, where, and what to do. The codes are public:
0 done, 1 a bug in cnnlab, 2 usage or config, 3 data, 4 checkpoint, 5 numerics, 6 resources,
7 a peer process lost, 8 busy or exists, 130 and 143 interrupted with the state saved.
"""


class CnnlabError(Exception):
    """Say in up to three lines what is wrong, where, and what to do; the traceback goes to the log.

    what: one sentence, no full stop. where: a path, key or index. hint: what the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.what, self.where, self.hint) if part)


class UsageError(CnnlabError):
    """A command, key or value that cannot be used."""

    exit_code = 2


class DataError(CnnlabError):
    """Images or labels that are missing, damaged or do not fit."""

    exit_code = 3


class CheckpointError(CnnlabError):
    """A checkpoint that is missing, damaged, foreign or does not fit the model."""

    exit_code = 4


class NumericsError(CnnlabError):
    """A loss, gradient or weight that is not finite."""

    exit_code = 5


class ResourceError(CnnlabError):
    """Disk, memory, file handles or a device that are not there."""

    exit_code = 6


class UnwritableError(ResourceError):
    """A place that cannot be written to.

    hint: what helps at this place, may be empty. elsewhere: how to begin the advice to write to
    another one, which depends on the command and is completed by `with_places`.
    """

    def __init__(self, what: str, where: str = "", hint: str = "", elsewhere: str = "") -> None:
        super().__init__(what, where, hint)
        self.elsewhere = elsewhere

    def with_places(self, places: str) -> ResourceError:
        """Return the error with the settings by which this command chooses where it writes."""
        other = f"{self.elsewhere}: {places}" if self.elsewhere and places else ""
        return ResourceError(self.what, self.where, ", or ".join(filter(None, [self.hint, other])))


class PeerLostError(CnnlabError):
    """Another process of this job died, raised or fell silent."""

    exit_code = 7


class MemberError(PeerLostError):
    """A member of an ensemble failed, each in a process of its own: with that process's code."""

    def __init__(self, exit_code: int, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.exit_code = exit_code


class BusyError(CnnlabError):
    """A folder or file that exists already or is being written by somebody else."""

    exit_code = 8


class Interrupted(KeyboardInterrupt):
    """Ctrl-C (130) or a termination request (143), after the state was saved.

    A KeyboardInterrupt, so that a sweep ends instead of going on to its next job.
    """

    def __init__(self, exit_code: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RunError(Exception):
    """Says which run `error` ended, for whoever reports it.

    run: the run folder, whose log takes the traceback.
    """

    def __init__(self, run: str, error: BaseException) -> None:
        super().__init__(run, error)
        self.run, self.error = run, error


class ShownError(Exception):
    """Says that another process of this job has shown the message of `error`."""

    def __init__(self, error: CnnlabError) -> None:
        super().__init__(error)
        self.error = error
