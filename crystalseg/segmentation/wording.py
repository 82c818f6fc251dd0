"""A selection of crystals in any words, by a language model of the user's own (`measurement.query` reads a few words by
itself). What the model answers counts only if it is a filter that can be read and shown; it is what goes on record."""

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crystalseg.measurement.query import ADJECTIVES, QueryError, parse
from crystalseg.segmentation.hub import UNUSABLE, changed, pipeline_of, reason

LONGEST_ANSWER = 96  # tokens
_COLUMNS = (
    "equivalent_diameter, feret_max, feret_min, perimeter (in px, nm, µm or mm); area (px² or µm²); aspect_ratio "
    "(0 to 1, 1 is as wide as long), circularity (0 to 1, 1 is a circle), solidity (0 to 1), confidence (0 to 1), "
    "brightness (0 to 255), orientation (degrees)"
)
_TASK = (
    "Translate a wish about the crystals of a micrograph into a filter of their table. Answer with the filter alone. "
    f"Columns: {_COLUMNS}. Conditions: COLUMN > NUMBER UNIT, with >, >=, < or <=; p1 to p99 in place of a number is a "
    "percentile of the image's crystals; pore, artefact and touches_border stand alone. Join them by and, or, not and "
    "parentheses."
)
_EXAMPLES = (
    ("only the roundish ones", ADJECTIVES["ROUND"]),
    ("nothing tiny, and no holes", f"not {ADJECTIVES['SMALL']} and not pore"),
    ("die dicken Nadeln über 20 µm", f"{ADJECTIVES['ELONGATED']} and feret_max > 20 µm"),
)


def filter_by_model(words: str, path: Path, pixels: np.ndarray | None = None) -> str:
    """The filter, as `query.parse` reads it, that the model at `path` makes of words.

    path: a folder as from_pretrained reads it, of a model of transformers that answers text, or text and image; pixels:
    the image, uint8 (H, W, 3), for the latter, if there is one. QueryError, in a sentence, if there is no such model,
    or its answer is no filter.
    """
    words = " ".join(words.split())
    if not words:
        return ""
    if not (path / "config.json").is_file():
        raise QueryError(f"{path} holds no language model: give a folder as from_pretrained reads it.")
    sees = any((path / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))
    try:
        model = _loaded(path, "image-text-to-text" if sees else "text-generation", changed(path))
        answer = _answer(model, words, sees, pixels)
    except (*UNUSABLE, ImportError) as error:
        raise QueryError(f"{path} could not be used as a language model ({reason(error)}).") from error
    refusal = f"The model {path.name} answered “{answer[:80] or 'nothing'}”, which is no selection: use other words."
    try:
        found = parse(answer).text
    except QueryError as error:
        raise QueryError(refusal) from error
    if not found:
        raise QueryError(refusal)
    return found


@lru_cache(maxsize=1)
def _loaded(path: Path, task: str, since: int) -> Any:
    """The pipeline, kept for the next wish until its files change."""
    return pipeline_of(task, path)


def _answer(model: Any, words: str, sees: bool, pixels: np.ndarray | None) -> str:
    """The first line of the model's answer, the likeliest, the same each time."""
    turns: list[dict] = []
    for wish, filter_ in _EXAMPLES:
        turns += [{"role": "user", "content": wish}, {"role": "assistant", "content": filter_}]
    turns.append({"role": "user", "content": words})
    turns[0]["content"] = f"{_TASK}\n\n{turns[0]['content']}"  # not every model knows a role for tasks
    if sees:
        for turn in turns:
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        if pixels is not None:
            picture = import_module("PIL.Image").fromarray(pixels)
            turns[-1]["content"].insert(0, {"type": "image", "image": picture})
    given = {"text" if sees else "text_inputs": turns}
    said = model(**given, max_new_tokens=LONGEST_ANSWER, do_sample=False, return_full_text=False)
    text = said[0]["generated_text"]
    lines = [line.strip("`\"'“” ") for line in str(text).splitlines() if line.strip("`\"'“” ")]
    return lines[0] if lines else ""
