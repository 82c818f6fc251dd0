"""Words to a filter by a language model: the road through transformers, and that nothing but a filter comes out."""

import json
import os

import numpy as np
import pytest
import tokenizers
import transformers

from crystalseg.measurement import wording
from crystalseg.measurement.query import QueryError, parse
from crystalseg.measurement.wording import filter_by_model
from crystalseg.segmentation import language
from crystalseg.segmentation.language import LanguageModel
from crystalseg.segmentation.settings import SettingsError

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
TURNS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
SEEN_TURNS = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}assistant: "
)
LLAMA = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def asked(words, folder, pixels=None):
    return filter_by_model(words, folder.name, LanguageModel(folder, pixels))


def letters(template):
    """A tokenizer whose words are single characters."""
    known = ["<unk>", "<pad>", "<image>", *(chr(k) for k in range(32, 127)), "\n", "µ", "²", "ü"]
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel({c: k for k, c in enumerate(known)}, unk_token="<unk>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    model.add_special_tokens(["<image>", "<pad>"])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", pad_token="<pad>", chat_template=template
    )


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speaks")
    tokens = letters(TURNS)
    config = transformers.LlamaConfig(vocab_size=len(tokens), **LLAMA)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def seeing_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sees")
    tokens = letters(SEEN_TURNS)
    eyes = transformers.CLIPVisionConfig(image_size=32, patch_size=16, **LLAMA)
    config = transformers.LlavaConfig(
        vision_config=eyes,
        text_config=transformers.LlamaConfig(vocab_size=len(tokens), **LLAMA),
        image_token_index=2,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    seen = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    transformers.LlavaProcessor(
        seen,
        tokens,
        patch_size=16,
        vision_feature_select_strategy="default",
        chat_template=SEEN_TURNS,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["text_model", "seeing_model"])
def test_a_model_that_babbles_chooses_nothing(kind, request):
    folder = request.getfixturevalue(kind)
    with pytest.raises(QueryError, match=f"The model {folder.name} answered “.*, which is not a selection"):
        asked("only the pretty ones", folder, PIXELS)


class Speaks:
    """A pipeline that gives one answer and keeps what it was given."""

    def __init__(self, answer):
        self.answer, self.given = answer, {}

    def __call__(self, **given):
        self.given = given
        return [{"generated_text": self.answer}]


@pytest.mark.parametrize(
    ("answer", "filter_"),
    [
        ("circularity >= 0.92 and brightness > p67", "circularity >= 0.92 and brightness > p67"),
        ("`not pore`\nbecause pores are holes", "not pore"),
        ("\n“feret_max > 20 µm”", "feret_max > 20 µm"),
        ("round ones above 30 px", "circularity >= 0.92 and equivalent_diameter > 30 px"),
    ],
)
def test_an_answer_becomes_the_filter_it_is(answer, filter_, text_model, monkeypatch):
    monkeypatch.setattr(language, "_loaded", lambda *_: Speaks(answer))
    assert asked("those I like", text_model) == filter_
    assert parse(filter_).text == filter_


@pytest.mark.parametrize("answer", ["", "sorry, I cannot", "weight > 3", "circularity"])
def test_another_answer_is_refused_in_a_sentence(answer, text_model, monkeypatch):
    monkeypatch.setattr(language, "_loaded", lambda *_: Speaks(answer))
    with pytest.raises(QueryError, match=r"not a selection\. Use other words"):
        asked("those I like", text_model)


def test_the_image_is_shown_to_a_model_that_sees(seeing_model, text_model, monkeypatch):
    model = Speaks("not pore")
    monkeypatch.setattr(language, "_loaded", lambda *_: model)
    asked("  no   holes ", seeing_model, PIXELS)
    picture, wish = model.given["text"][-1]["content"]
    np.testing.assert_array_equal(np.asarray(picture["image"]), PIXELS)
    assert wish == {"type": "text", "text": "no holes"}
    asked("no holes", seeing_model)
    assert model.given["text"][-1]["content"] == [wish]
    asked("no holes", text_model, PIXELS)
    assert model.given["text_inputs"][-1] == {"role": "user", "content": "no holes"}
    assert not model.given["do_sample"]


def test_the_examples_are_filters():
    for _, filter_ in wording._EXAMPLES:
        assert parse(filter_).text == filter_


def test_without_a_model_or_words_it_says_so_or_does_nothing(tmp_path):
    with pytest.raises(SettingsError, match="holds no language model"):
        asked("round ones", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert asked("  ", tmp_path) == ""
    with pytest.raises(SettingsError, match="could not be used as a language model"):
        asked("round ones", tmp_path)


def test_code_in_the_folder_of_a_model_never_runs(tmp_path, monkeypatch, capsys):
    folder, ran = tmp_path / "model", tmp_path / "ran"
    folder.mkdir()
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass C: pass\nclass M: pass\n")
    named = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": named}))
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nobody is asked, and nobody's yes would count
    with pytest.raises(SettingsError, match="could not be used as a language model"):
        asked("round ones", folder)
    assert not ran.exists()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
