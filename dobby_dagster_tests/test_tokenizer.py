"""The tokenizer and the chat templates, beside what transformers makes of the same folder."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.encoding import Encoder
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.model_folder import check_folder, find_model
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.tokenizer import load_tokenizer
from training.tokenizer import CAPITAL, JOINED

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "def f():\n    pass  # <|im_end|>"}]
BUILT_IN = find_model(ModelSettings())


def with_template(folder: Path, copy: Path, template: object) -> Path:
    shutil.copytree(folder, copy)
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    return copy


@pytest.mark.parametrize("kind", ["qwen2", "llama", "built-in"])
def test_prompts_and_special_tokens_are_those_of_transformers(kind: str, request: pytest.FixtureRequest) -> None:
    folder = BUILT_IN if kind == "built-in" else check_folder(request.getfixturevalue(kind))
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder.path)
    if kind == "llama":
        assert ours.template == ""
    else:
        assert ours.prompt(MESSAGES) == theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert ours.token("eos_token") == theirs.eos_token_id
    assert ours.token("pad_token") == theirs.pad_token_id
    assert ours.token("bos_token") == theirs.bos_token_id


@given(st.text())
def test_texts_and_tokens_are_those_of_transformers(text: str) -> None:
    ours, theirs = load_tokenizer(BUILT_IN), PreTrainedTokenizerFast.from_pretrained(BUILT_IN.path)
    ids = ours.encode(text, add_special_tokens=True)
    assert ids == theirs(text)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@given(text=st.text())
def test_any_text_as_data_is_decoded_as_it_was(text: str, qwen2: Path) -> None:
    tokenizer = load_tokenizer(check_folder(qwen2))
    [plain] = tokenizer.plain([text])
    assert tokenizer.decode(plain) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters=[JOINED, CAPITAL])))
def test_a_line_as_data_is_decoded_as_it_was_by_the_built_in_tokenizer(text: str) -> None:
    line = " ".join([*text.split(), "<|summary|>", "<|end|>"])
    tokenizer = load_tokenizer(BUILT_IN)
    [plain] = tokenizer.plain([line])
    assert tokenizer.decode(plain) == line


def test_a_template_may_stand_in_a_list_and_use_what_templates_use(qwen2: Path, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% if loop.index > 9 %}{% break %}{% endif %}\n"
        "  {{ bos_token }}{{ m | tojson }}{% if m.role == 'odd' %}{{ raise_exception('odd') }}{% endif %}\n{% endfor %}"
    )
    path = with_template(
        qwen2, tmp_path / "m", [{"name": "tools", "template": "no"}, {"name": "default", "template": template}]
    )
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings["bos_token"] = {"__type": "AddedToken", "content": "<|im_start|>", "lstrip": False}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, theirs = load_tokenizer(check_folder(path)), AutoTokenizer.from_pretrained(path)
    assert ours.token("bos_token") == theirs.bos_token_id is not None
    assert ours.prompt(MESSAGES) == theirs.apply_chat_template(
        MESSAGES, tokenize=False, add_generation_prompt=True, chat_template=template
    )


def test_a_template_that_refuses_a_system_message_gets_it_with_the_user(qwen2: Path, tmp_path: Path) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}<|im_start|>"
        "{{ messages[0].content }}<|im_end|>"
    )
    folder = check_folder(with_template(qwen2, tmp_path / "m", template))
    tokenizer = load_tokenizer(folder)
    [encoded] = Encoder(tokenizer, 300).encode([Request("r", "x = 1")], PromptLibrary.load().get("summary"))
    shown = tokenizer.backend.decode(encoded.ids, skip_special_tokens=False)
    assert shown.startswith("<|im_start|>You summarize")
    assert shown.endswith("x = 1<|im_end|>")


@pytest.mark.parametrize(
    ("template", "message"),
    [("{% for %}", "the chat template is malformed"), ("{{ messages.__class__.__mro__ }}{{ ''.__class__ }}", "unsafe")],
)
def test_a_template_can_do_no_harm(template: str, message: str, qwen2: Path, tmp_path: Path) -> None:
    folder = check_folder(with_template(qwen2, tmp_path / "m", template))
    encoder = Encoder(load_tokenizer(folder), 300)
    with pytest.raises(ModelError, match=message):
        encoder.encode([Request("r", "x = 1")], PromptLibrary.load().get("summary"))
