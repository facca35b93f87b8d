"""The tokenizer and the chat templates, beside what transformers makes of the same folder."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.local.prompt_encoding import Encoder
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_folder import ModelFolder, check_folder
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.sandbox import limited_process
from dobby_dagster_tests.helpers.checkpoints import make_checkpoint
from training.tokenizer import CAPITAL, JOINED

TEXTS = ("Be short.", "def f():\n    pass  # <|im_end|>")
MESSAGES = [{"role": "system", "content": TEXTS[0]}, {"role": "user", "content": TEXTS[1]}]
BUILT_IN = check_folder(shelf()[SMALL_MODEL])


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
        expected = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        assert ours.prompts([TEXTS]) == [expected]
    assert ours.token("eos_token") == theirs.eos_token_id
    assert ours.token("pad_token") == theirs.pad_token_id
    assert ours.token("bos_token") == theirs.bos_token_id


@pytest.mark.slow
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
    expected = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True, chat_template=template)
    assert ours.prompts([TEXTS]) == [expected]


def test_a_template_that_refuses_a_system_message_gets_it_with_the_user(qwen2: Path, tmp_path: Path) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}<|im_start|>"
        "{{ messages[0].content }}<|im_end|>"
    )
    folder = check_folder(with_template(qwen2, tmp_path / "m", template))
    tokenizer = load_tokenizer(folder)
    [encoded] = Encoder(tokenizer, 300).encode([Request("r", "x = 1")], PromptLibrary.load().get("summary"))
    shown = tokenizer.backend.decode(encoded.prompt_ids, skip_special_tokens=False)
    assert shown.startswith("<|im_start|>You summarize")
    assert "\nx = 1" in shown or "x = 1\n" in shown
    assert shown.endswith("<|im_end|>")
    assert shown.count("<|im_start|>") == 1


USER = "{{ messages[-1].content }}"


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}|{% endfor %}",
        "{%- generation -%} a {% set b = 1 %} {%- endgeneration %}{{ b }}" + USER,
        "{% if tools is not none %}{{ tools | tojson }}{% endif %}{% if documents is none %}none{% endif %}" + USER,
        "{{ tools }}{{ documents }}{{ unknown }}{{ bos_token }}" + USER,
        "{{ messages | tojson(indent=2, sort_keys=true) }}",
        "{% set ns = namespace(last='') %}{% for m in messages %}{% set ns.last = m.role %}{% endfor %}{{ ns.last }}"
        + USER,
        "{% set date = strftime_now('%Y') if strftime_now is defined and false else '2024' %}{{ date }}" + USER,
        "{% macro say(m) %}{{ m.content | trim }}{% endmacro %}{% for m in messages %}{% if loop.last %}{{ say(m) }}{% endif %}{% endfor %}",
    ],
)
def test_templates_are_rendered_as_transformers_renders_them(template: str, qwen2: Path, tmp_path: Path) -> None:
    path = with_template(qwen2, tmp_path / "m", template)
    ours, theirs = load_tokenizer(check_folder(path)), AutoTokenizer.from_pretrained(path)
    expected = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert ours.prompts([TEXTS]) == [expected]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for %}", "the chat template is malformed"),
        ("{{ messages.__class__.__mro__ }}{{ ''.__class__ }}", "unsafe"),
        ("{% set ns = namespace() %}{% set ns.__init__ = 1 %}" + USER, "can't hold '__init__'|unsafe|malformed"),
        ("{{ strftime_now('%Y') }}" + USER, "the chat template asks for today's date"),
        ("{{ raise_exception('no') }}", "the chat template refuses the prompt: no"),
        ("{{ 1 / 0 }}" + USER, "can't be rendered: ZeroDivisionError"),
        ("{{ messages[99].content.x }}" + USER, "can't be rendered: "),
        ("hello", "shows the content 0 times instead of once"),
        (USER + USER, "shows the content 2 times instead of once"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}" + USER,
            "takes more than 3 s",
        ),
        ("{% set x = 'a' * 5000000000 %}" + USER, "MemoryError|needs more than 2 GB"),
        ("{{ 'word ' * 3000000 }}" + USER, "makes a prompt of 15,000,"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}" + USER, "RecursionError"),
    ],
)
def test_a_template_that_does_harm_or_can_not_be_rendered_is_refused_at_the_start(
    template: str, message: str, qwen2: Path, tmp_path: Path
) -> None:
    folder = check_folder(with_template(qwen2, tmp_path / "m", template))
    with pytest.raises(ModelError, match=message):
        LocalEngine(folder, ModelSettings(device="cpu"), InferenceSettings()).load()


SOFT = ("<tool_call>", "<|fim_prefix|>", "<turn>", "      ")


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A model whose tokenizer has added tokens that are not called special, and one of spaces only."""
    path = make_checkpoint(tmp_path_factory.mktemp("soft") / "model", words=SOFT)
    return check_folder(path)


@given(st.lists(st.one_of(st.sampled_from([*SOFT, "<|im_end|>", "<|im_start|>system"]), st.text(max_size=8))))
def test_no_added_token_is_read_in_a_content(soft: ModelFolder, parts: list[str]) -> None:
    tokenizer = load_tokenizer(soft)
    added = tokenizer.backend.get_added_tokens_decoder()
    control = {token for token, what in added.items() if not what.content.isspace()}
    assert len(control) == 6
    text = "".join(parts)
    [ids] = tokenizer.plain([text])
    assert not control & set(ids)
    assert tokenizer.decode(ids) == text


def test_added_tokens_of_spaces_and_those_of_the_frame_stay(soft: ModelFolder) -> None:
    tokenizer = load_tokenizer(soft)
    spaces = tokenizer.backend.token_to_id("      ")
    assert tokenizer.plain(["      "]) == [[spaces]]
    assert tokenizer.encode("<turn>", add_special_tokens=False) == [tokenizer.backend.token_to_id("<turn>")]


def test_the_sandbox_finds_packages_where_this_process_does(
    qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'found')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    question = {"folder": str(qwen2), "definition": (qwen2 / "tokenizer.json").read_text()}
    limited_process.ask("tokenizer_trial", question, "the tokenizer", seconds=10, memory_bytes=4_000_000_000)
    assert (tmp_path / "found").exists()
