"""What is kept of an answer where words may change or figures depend on the moment."""

import re
from typing import Any

import numpy as np

import cnnlab
from tests.golden.answers import reading


def names(out: str) -> Any:
    """Return names, which facts are there, and the figures in them: the wording may change."""
    ((what, rows),) = reading.as_json(out).items()
    return {what: {row["name"]: _facts(row) for row in rows}}


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    shown = {key: _figures(value) for key, value in row.items() if key in ("published", "measured")}
    return {"keys": sorted(row), **shown, **({"command": row["command"]} if shown else {})}


def _figures(text: str | None) -> list[str] | None:
    return None if text is None else re.findall(r"\d[\d.,]*\d|\d", text)


def sets(out: str) -> Any:
    """Return the names of all sets, and what is known of those that are always there."""
    rows = {row.pop("name"): row for row in reading.as_json(out)["datasets"]}
    always = {name: rows[name] for name in ("mnist5k", "synthetic")}
    return {"names": sorted(rows), **{k: v | {"about": "*"} for k, v in always.items()}}


def help_page(out: str) -> Any:
    """Return the groups with their choices and the keys of the settings, without any wording."""
    groups, keys = {}, []
    out = re.sub(r"\n {5,}", " ", out)  # a page has a hundred columns
    for name, rest in re.findall(r"^  ([a-z][a-z0-9_.]*)  +(\S.*)$", out, re.MULTILINE):
        if " | " in rest:
            groups[name] = sorted(choice.strip() for choice in rest.split("|"))
        else:
            keys.append(reading.american(name))
    return {"groups": groups, "keys": sorted(keys)}


def timings(out: str) -> Any:
    return {**reading.kinds(reading.as_json(out)), "num_parts": len(reading.as_json(out)["parts"])}


def loaded(path: str, *others: str) -> Any:
    """Predict from Python what arrays and pictures show."""
    from PIL import Image

    predictor = cnnlab.load([path, *others] if others else path, device="cpu")
    drawing = np.random.default_rng(5)
    images = {
        "gray": drawing.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "color": drawing.integers(0, 256, (2, 40, 36, 3), dtype=np.uint8),
        "one": Image.open("pictures/one.png"),
        "files": [Image.open(f"pictures/{name}") for name in ("paper.jpg", "wide.jpg")],
    }
    found = {name: predictor.predict(value) for name, value in images.items()}
    found["as_is"] = predictor.predict(images["gray"], as_is=True)
    return {name: _predicted(predictions) for name, predictions in found.items()}


def _predicted(predictions: Any) -> dict[str, Any]:
    return {
        "class_names": list(predictions.class_names),
        "names": list(predictions.names),
        "top": [[[name, chance] for name, chance in best] for best in predictions.top(3)],
        "probabilities": reading.array(predictions.probabilities.numpy()),
    }
