"""Language models of the user, in a folder that from_pretrained of transformers can read."""

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
    """A model that answers text, or text and an image. pixels: the image to show, uint8 (H, W, 3), if any. Raises
    SettingsError if there is no model at `path`."""

    def __init__(self, path: Path, pixels: np.ndarray | None = None):
        if not (path / "config.json").is_file():
            raise SettingsError(f"{path} holds no language model. Give a folder that from_pretrained can read.")
        self.path, self.pixels = path, pixels
        self.sees = any((path / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))

    def __call__(self, task: str, examples: Sequence[tuple[str, str]], words: str) -> str:
        """Return the model's most likely answer to `words`; it is the same each time. Raises SettingsError if the model
        cannot be used."""
        turns: list[dict] = []
        for said, answer in examples:
            turns += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        turns.append({"role": "user", "content": words})
        turns[0]["content"] = f"{task}\n\n{turns[0]['content']}"  # not every model has a system role
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
    """Load the pipeline and keep it for the next request until its files change."""
    return pipeline_of(task, path)
