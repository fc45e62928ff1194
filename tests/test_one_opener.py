"""Files are opened in few places: what a run folder holds, by `files/regular.py` alone."""

import ast

import pytest

from tests.sources import SOURCE, trees

OPENERS = {
    "config/choices.py": "YAML files of the installed package",
    "conversion/export.py": "the file that was just written, to try it",
    "conversion/into_checkpoint.py": "class_names=FILE, named by the user",
    "cpu/contention.py": "times of the own threads in /proc",
    "cpu/processors.py": "limits of this process in /proc and /sys",
    "data/archive.py": "archives of a data set",
    "data/blocks.py": "shards of a Store",
    "data/build_lock.py": "the lock beside a Store",
    "data/cifar.py": "files of a data set",
    "data/contents.py": "files of a data set",
    "data/decode.py": "images of a data set: regular files only",
    "data/download.py": "files of a data set",
    "data/idx.py": "files of a data set",
    "data/jpeg.py": "bytes in memory",
    "data/journal.py": "the journal of a preparation",
    "data/label_lists.py": "files of a data set",
    "data/manifest.py": "files of a Store",
    "data/mnist5k.py": "the digits in the installed package",
    "data/prepared.py": "shards of a Store, mapped",
    "evaluation/observers.py": "a new file, mapped: whatever had its name is removed first",
    "files/arrays.py": "arrays, mapped: no link, of the kind and shape expected",
    "files/atomic.py": "new files, which are renamed; folders, to sync them",
    "files/checksummed.py": "checkpoints: regular files only, compared with their digest",
    "files/foreign.py": "the first bytes of a file that the user named as weights",
    "files/regular.py": "regular files through no link, for everything in a run folder",
    "plugins.py": "the module that `plugins` names, for its digest",
    "run_folder/lock.py": "the lock of a run folder: no link, and without waiting",
    "runtime.py": "facts of the processor in /proc",
    "distributed/error_file.py": "a new error.json, which no link can be",
    "starting.py": "the null device, where a standard stream is closed",
    "playground/page.py": "the page's script and style in the installed package",
    "streams.py": "the null device, in the place of a lost stream",
    "system.py": "facts of a process in /proc",
    "trainer/processes.py": "the null device, in the place of a console",
    "tensorboard_writer.py": "a new event file, which no link can be",
}
"""Files that open others themselves, and which. None of them is in a run folder unless said so."""

ROOMS_OF_RUN_FOLDERS = ("app", "command", "inference", "reports", "run_folder", "trainer")
CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "open_memmap", "memmap"}


def openers_in(tree: ast.Module) -> set[str]:
    """Return the calls of a file that open another one by its path."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        is_ours = name.startswith(("atomic.", "regular.", "webbrowser."))
        if not is_ours and (last in CALLS or name in ("np.load", "np.loadtxt", "np.fromfile")):
            found.add(name)
    return found - {"write_bytes"}  # imported from files.atomic


def test_files_are_opened_by_those_that_are_listed() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): openers_in(tree) for path, tree in trees().items()
    }
    assert {name for name, calls in found.items() if calls} == OPENERS.keys(), found


def test_the_rooms_that_know_run_folders_open_nothing_in_them() -> None:
    inside = {name for name in OPENERS if name.split("/")[0] in ROOMS_OF_RUN_FOLDERS}
    assert inside == {"run_folder/lock.py", "trainer/processes.py"}


@pytest.mark.parametrize(
    "source",
    ["open(p)", "p.open()", "os.open(p, 0)", "p.read_text()", "np.load(p)", "path.write_bytes(b)"],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert openers_in(ast.parse(source))
