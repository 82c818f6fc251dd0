"""Language models of the user's own, by a folder as from_pretrained of transformers reads it."""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crystalseg.segmentation.hub import UNUSABLE, changed, pipeline_of, reason
from crystalseg.segmentation.settings import SettingsError

LONGEST_ANSWER = 96  # tokens


class LanguageModel:
    """A model that answers text, or text and image; pixels: the image it is shown, uint8 (H, W, 3), if there is one.
    SettingsError, in a sentence, if there is none at `path`."""

    def __init__(self, path: Path, pixels: np.ndarray | None = None):
        if not (path / "config.json").is_file():
            raise SettingsError(f"{path} holds no language model: give a folder as from_pretrained reads it.")
        self.path, self.pixels = path, pixels
        self.sees = any((path / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))

    def __call__(self, task: str, examples: Sequence[tuple[str, str]], words: str) -> str:
        """The model's answer to `words`, the likeliest, the same each time. SettingsError if it cannot be used."""
        turns: list[dict] = []
        for said, answer in examples:
            turns += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        turns.append({"role": "user", "content": words})
        turns[0]["content"] = f"{task}\n\n{turns[0]['content']}"  # not every model knows a role for tasks
        try:
            return self._answer(turns)
        except (*UNUSABLE, ImportError) as error:
            raise SettingsError(f"{self.path} could not be used as a language model ({reason(error)}).") from error

    def _answer(self, turns: list[dict]) -> str:
        model = _loaded(self.path, "image-text-to-text" if self.sees else "text-generation", changed(self.path))
        if self.sees:
            for turn in turns:
                turn["content"] = [{"type": "text", "text": turn["content"]}]
            if self.pixels is not None:
                picture = import_module("PIL.Image").fromarray(self.pixels)
                turns[-1]["content"].insert(0, {"type": "image", "image": picture})
        given = {"text" if self.sees else "text_inputs": turns}
        said = model(**given, max_new_tokens=LONGEST_ANSWER, do_sample=False, return_full_text=False)
        return str(said[0]["generated_text"])


@lru_cache(maxsize=1)
def _loaded(path: Path, task: str, since: int) -> Any:
    """The pipeline, kept for the next wish until its files change."""
    return pipeline_of(task, path)
