"""Select crystals in any words, with a model that answers in text (`query` reads a few words by itself).

The model's answer counts only if it is a filter that can be read and shown. That filter goes on record.
"""

from collections.abc import Callable, Sequence

from crystalseg.measurement.query import ADJECTIVES, QueryError, parse

Turn = tuple[str, str]  # what a user says, and what the model answers
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


def filter_by_model(words: str, name: str, answer: Callable[[str, Sequence[Turn], str], str]) -> str:
    """Return the filter that a model makes of words, in the form that `query.parse` reads.

    `name` is the model's name, for messages. `answer` is the model: it takes a task, turns as examples, and the words,
    and returns its text. Raise QueryError, with a sentence for the user, if that text is not a filter.
    """
    words = " ".join(words.split())
    if not words:
        return ""
    said = answer(_TASK, _EXAMPLES, words)
    lines = [line.strip("`\"'“” ") for line in said.splitlines() if line.strip("`\"'“” ")]
    first = lines[0] if lines else ""
    refusal = f"The model {name} answered “{first[:80] or 'nothing'}”, which is not a selection. Use other words."
    try:
        found = parse(first).text
    except QueryError as error:
        raise QueryError(refusal) from error
    if not found:
        raise QueryError(refusal)
    return found
