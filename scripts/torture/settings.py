"""Hundreds of malformed configs and overrides: each must give a clean error, none a traceback.

Half of them are command lines, half the config.yaml of a run to resume.
"""

import random
import string
from pathlib import Path
from typing import Any

from scripts.torture import command

KEYS = (
    *("seed", "trainer.epochs", "optimizer.learning_rate", "model.dropout", "model", "dataset"),
    *("dataset.root", "schedule", "augment", "runtime.device", "saving.keep", "plugins", "resume"),
    *("logging.progress", "evaluation", "trainer", "hydra.run.dir", "hydra/launcher", "nothing"),
)
VALUES = (
    *("", "null", "abc", "-1", "1e400", "nan", "inf", "[]", "{}", "[1,2", "{a:1}", "'", '"', "\\"),
    *("${seed}", "${oc.env:HOME}", "${oc.env:NO_SUCH}", "${hydra:runtime.cwd}", "${nothing}", "${"),
    *(
        "_target_",
        "{_target_:os.system}",
        "!!python/object:x",
        "&a",
        "*a",
        "\x1b[31m",
        "\n",
        "\x00",
    ),
    *("../../../etc/passwd", "/", "~", "1_000", "0x10", "1,2,3", "range(3)", "choice(a,b)", "True"),
    *("9" * 400, "a" * 5000, "é", "\u202e", "\ud800", "=", "==", "@", "+", "%", "#", ":", "a b"),
)
PREFIXES = ("", "", "", "+", "++", "~", " ", "-", "--", "@", "=", ".", "/")
YAMLS = (
    *("", "[]", "a", "seed: [", "seed: 1\nseed: 2", "? [a]: 1", "!!binary x", "%YAML 9.9\n---\n{}"),
    *("a: &a [*a]", "{" * 2000, "seed: !!python/object/apply:os.system [true]", "\t- x", "- {"),
    *(
        "model: {_target_: os.system}",
        "seed: ${oc.env:HOME}",
        "trainer: null",
        "model: {name: [1]}",
    ),
)


def overrides(draw: random.Random) -> list[str]:
    """Return the words of one malformed command."""
    words = []
    for _ in range(draw.randrange(1, 4)):
        word = draw.choice(PREFIXES) + draw.choice(KEYS) + draw.choice(("=", "=", "=", "", " = "))
        words.append(word + draw.choice(VALUES))
    if draw.random() < 0.2:
        noise = "".join(draw.choice(string.printable) for _ in range(draw.randrange(1, 40)))
        words.append(noise)
    return [draw.choice(("train", "train", "evaluate", "summary", "list")), *words]


def damaged_config(draw: random.Random, valid: str) -> str:
    """Return a damaged config.yaml."""
    kind = draw.randrange(4)
    if kind == 0:
        return draw.choice(YAMLS)

    place = draw.randrange(len(valid))
    if kind == 1:
        return valid[:place]
    if kind == 2:
        noise = "".join(draw.choice(string.printable) for _ in range(draw.randrange(1, 20)))
        return valid[:place] + noise + valid[place:]

    lines = valid.splitlines()
    line = draw.randrange(len(lines))
    key = lines[line].partition(":")[0]
    lines[line] = f"{key}: {draw.choice(VALUES)}"
    return "\n".join(lines)


def malform(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Try `count` malformed settings; one that would train lacks its dataset or device."""
    draw, unclean = random.Random(seed), []
    codes: dict[int, int] = {}
    run = folder / "run"
    made = command.call("train", "experiment=debug", "logging.report=false", f"hydra.run.dir={run}")
    valid = (run / "config.yaml").read_text()

    for index in range(count):
        if index % 2:
            text = damaged_config(draw, valid)
            (run / "config.yaml").write_text(text, encoding="utf-8", errors="replace")
            words = ["train", f"resume={run}"]
        else:
            words = overrides(draw)
            text = " ".join(words)
            if words[0] == "train":
                words.append("dataset.root=/nonexistent" if index % 4 else "runtime.device=cuda:99")

        outcome = command.call(*words)
        codes[outcome.code] = codes.get(outcome.code, 0) + 1
        if not outcome.is_clean or outcome.code == 1:
            unclean.append(f"{text[:200]!r}: {outcome.code} {outcome.errors[:300]}")

    codes_text = {str(code): number for code, number in sorted(codes.items())}
    return {"tried": count, "first_run": made.code, "exit_codes": codes_text, "unclean": unclean}
