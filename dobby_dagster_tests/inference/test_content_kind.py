"""What kind of content a record holds, and that a confidence off its domain is unknown."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import DEFAULT_MODEL, InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.scoring.confidence import Calibration, OutputFeatures, confidence
from dobby_dagster.inference.scoring.content_kind import PACKAGE, WEIGHTS, kind_of
from dobby_dagster.inference.scoring.grounding import grounded_share
from dobby_dagster.pipeline.outlines.outline_text import Part, outline

CONTENTS = {
    "code": "def area(width, height):\n    if width < 0:\n        raise ValueError(width)\n    return width * height\n",
    "code ": "func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {\n\tif err := c.check(key); err != nil {\n\t\treturn nil, err\n\t}\n\treturn c.get(ctx, key)\n}\n",
    "code  ": "export function add(a: number, b: number): number {\n  const sum = a + b;\n  return sum;\n}\n",
    "prose": "Meeting notes, 4 March.\n\nThe team decided to move the release by a week. Anna will write to the customers, and Ben looks at the backups.\n",
    "prose ": "Steps to reproduce:\n1. Open the settings.\n2. Press save twice.\n\nActual: the page stays blank. Expected: a message is shown.\n",
    "shell": '#!/bin/bash\nset -euo pipefail\nfor file in "$@"; do\n  gzip -k "$file"\ndone\n',
    "data": '{"name": "shop", "port": 8080, "hosts": ["a.example.com", "b.example.com"], "debug": false}',
    "data ": "services:\n  web:\n    image: nginx:1.25\n    ports:\n      - 80:80\n  db:\n    image: postgres:16\n",
    "data  ": "id,name,city,total\n1,Anna,Berlin,20.5\n2,Ben,Lima,17.0\n3,Carla,Oslo,3.2\n",
    "sql": "SELECT u.name, COUNT(*) AS orders\nFROM users u\nJOIN orders o ON o.user_id = u.id\nGROUP BY u.name\nORDER BY orders DESC;\n",
    "log": "2026-03-01 07:00:01 INFO worker: Started the job 14\n2026-03-01 07:00:09 ERROR worker: Connection refused by db-3\n",
    "log ": 'Traceback (most recent call last):\n  File "/app/main.py", line 3, in <module>\n    main()\n  File "/app/main.py", line 9, in main\n    load(path)\nKeyError: \'size\'\n',
    "diff": "diff --git a/lib/http.c b/lib/http.c\n--- a/lib/http.c\n+++ b/lib/http.c\n@@ -1,2 +1,3 @@\n void done(void) {\n+  free(trailer);\n }\n",
    "other code": 'class User < ApplicationRecord\n  belongs_to :team\n  attr_reader :name\n\n  def full_name\n    puts name\n    "#{first} #{last}"\n  end\nend\n',
}
WEIGHTLESS = {"bias": 0.0, "mean_logprob": 0.0, "min_logprob": 0.0, "log_tokens": 0.0}


@pytest.mark.parametrize("wanted", CONTENTS)
def test_the_kind_is_told_from_the_content(wanted: str) -> None:
    assert kind_of(CONTENTS[wanted]) == wanted.strip()


def test_a_language_that_names_a_kind_decides() -> None:
    prose = CONTENTS["prose"]
    assert [kind_of(prose, language) for language in ("python", "SQL", "ruby", "json", "")] == [
        "code",
        "sql",
        "other code",
        "data",
        "prose",
    ]
    assert kind_of(CONTENTS["log"], "text") == "log", "a text file can hold anything"
    assert kind_of(prose, "klingon") == "prose"


def test_the_outline_of_a_package_that_says_nothing_of_itself_is_a_kind_that_the_default_model_is_calibrated_for() -> (
    None
):
    parts = [Part("a.py", "file", summary="Read a page."), Part("b/", "package")]
    assert kind_of(outline("", parts, 500, "books"), "python") == PACKAGE
    assert kind_of(outline("", parts * 50, 500, "books"), "python") == PACKAGE, "not all parts fit"
    assert kind_of(outline("Pages of books.", parts, 500, "books"), "python") == "code"
    assert kind_of(outline("", parts, 500), "python") == "code"
    for other in (
        "# Package imports\nimport os.path\n",
        "# Package x\n",
        "# Package x\nmake\n",
        "# Package a.b\nx = 1",
    ):
        assert kind_of(other, "python") == "code"
    assert kind_of("# Package manager\n\nInstall it with npm. Then run it.\n", "markdown") != PACKAGE
    assert kind_of("# Package the release\nset -e\ntar czf a.tgz a\n", "shell") == "shell"
    calibration = check_folder(shelf()[DEFAULT_MODEL]).calibration
    assert calibration is not None
    bare = OutputFeatures(-0.5, -2.0, 9, copied=False, grounded=0.5, kind=PACKAGE)
    sure = confidence(bare, calibration)
    as_code = confidence(replace(bare, kind="code"), calibration)
    assert sure is not None
    assert as_code is not None
    assert sure < as_code


def test_of_nothing_the_kind_is_not_guessed() -> None:
    assert json.loads(WEIGHTS.read_text())["kinds"] == sorted(
        {"code", "other code", "data", "diff", "log", "prose", "shell", "sql"}
    )
    for empty in ("", " \n\t", "\x00"):
        kind_of(empty)


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_has_a_kind_or_none(text: str) -> None:
    assert kind_of(text) in {None, "code", "other code", "data", "diff", "log", "prose", "shell", "sql"}


def test_a_confidence_off_its_domain_is_unknown() -> None:
    code_only = Calibration.model_validate({"meaning": "m", **WEIGHTLESS})
    assert confidence(OutputFeatures(-0.1, -0.2, 9, True), code_only) == pytest.approx(0.5)
    for kind in ("prose", "shell", "data", None):
        assert confidence(OutputFeatures(-0.1, -0.2, 9, True, kind=kind), code_only) is None
    both = Calibration.model_validate({"meaning": "m", **WEIGHTLESS, "kinds": {"prose": {**WEIGHTLESS, "bias": -3.0}}})
    assert confidence(OutputFeatures(-0.1, -0.2, 9, True, kind="prose"), both) == pytest.approx(0.0474, abs=1e-3)
    assert confidence(OutputFeatures(-0.1, -0.2, 9, True, kind="shell"), both) is None
    assert confidence(OutputFeatures(-0.5, -0.2, 9, True, kind="shell"), None) == pytest.approx(0.6065, abs=1e-3)


def test_words_that_are_not_the_contents_lower_a_confidence() -> None:
    calibration = Calibration.model_validate({"meaning": "m", **WEIGHTLESS, "grounded": 4.0, "bias": -2.0})
    content = CONTENTS["code"]
    shares = [grounded_share(text, content) for text in ("Returns width times height.", "Initializes the DataFrame.")]
    assert shares[0] > shares[1] == 0.0
    first, second = (confidence(OutputFeatures(-0.1, -0.2, 9, False, share), calibration) for share in shares)
    assert first is not None
    assert second is not None
    assert first > second


@pytest.mark.slow
def test_the_built_in_model_is_sure_of_no_shell_script_and_no_meeting(tmp_path: Path) -> None:
    """With a calibration for code only, whatever it writes of the other kinds."""
    folder = tmp_path / "model"
    shutil.copytree(shelf()[SMALL_MODEL], folder)
    card = json.loads((folder / CARD).read_text())
    card["calibration"].pop("kinds", None)
    (folder / CARD).write_text(json.dumps(card))
    engine = LocalEngine(check_folder(folder), ModelSettings(device="cpu"), InferenceSettings())
    requests = [Request(name, content) for name, content in CONTENTS.items()]
    answers = {
        a.id: a for a in engine.infer(requests, PromptLibrary.load().get("summary")) if isinstance(a, Generation)
    }
    assert set(answers) == set(CONTENTS)
    for name, answer in answers.items():
        assert (answer.confidence is not None) == (name.strip() == "code")
