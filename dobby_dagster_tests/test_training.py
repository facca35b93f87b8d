"""How the built-in model is made: pairs, what is dropped, the scores, and a run that can be stopped anywhere."""

import argparse
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import train
from training.calibrate import fit, signs
from training.corpus.build import build
from training.corpus.deduplication import Seen
from training.corpus.functions import pairs_of_file
from training.corpus.packages import Project, fetch, files, projects
from training.corpus.pair import Pair, read, write
from training.corpus.sentences import first_sentence
from training.evaluation.answers import Answered, answers, sample, with_documentation
from training.evaluation.baselines import name_words, nearest_summaries
from training.evaluation.metrics import calibration_error, interval, rouge_l, smoothed_bleu
from training.evaluation.oddities import ODDITIES
from training.evaluation.report import evaluation, samples_page
from training.packing import Batch, Packed, pack
from training.tokenizer import train_tokenizer

MODEL = Path(__file__).parent.parent / "models" / "dobby-code-7m"
PYTHON = '''
class A:
    """Keeps a sum below a limit."""

    def plain(self, x):
        """Return the sum of x and the limit.

        More about it.
        """
        return x + self.limit + 1000

    def short(self):
        """Too short."""
        return 1

@cache
def top(path):
    """Read the file at :class:`~os.path` and return its lines."""
    with open(path) as stream:
        return stream.readlines()
'''


def pair(code: str = "", summary: str = "", name: str = "f", project: str = "p", language: str = "python") -> Pair:
    return Pair(project, language, "function", name, code, "", 0, summary)


def test_python_pairs_are_records_without_their_docstring_and_its_first_sentence() -> None:
    found = {pair.name: pair for pair in pairs_of_file("p", "a.py", PYTHON)}
    assert {name: pair.summary for name, pair in found.items()} == {
        "A": "Keeps a sum below a limit.",
        "A.plain": "Return the sum of x and the limit.",
        "top": "Read the file at os.path and return its lines.",
    }
    first = found["A.plain"]
    assert first.code == "def plain(self, x):\n    return x + self.limit + 1000"
    assert first.documented == (
        'def plain(self, x):\n    """Return the sum of x and the limit.\n\n    More about it.\n    """\n'
        "    return x + self.limit + 1000"
    )
    assert '"""' not in found["A"].code
    assert list(pairs_of_file("p", "a.py", "def broken(")) == []


@pytest.mark.parametrize(
    ("path", "text", "name", "summary"),
    [
        (
            "a.go",
            "// ReadAll reads from r until the end.\n// It never fails.\nfunc ReadAll(r Reader) []byte {\n\treturn r.all()\n}\n",
            "ReadAll",
            "Reads from r until the end.",
        ),
        (
            "a.rs",
            "/// Returns the [`Name`] of it.\n///\n/// More.\n#[inline]\npub fn name(&self) -> &Name {\n    &self.inner.name\n}\n",
            "name",
            "Returns the Name of it.",
        ),
        (
            "a.js",
            "/**\n * Draws the {@link Circle} on the canvas.\n * @param c the canvas\n */\nfunction draw(c) {\n  c.arc(c.width / 2, c.height / 2, 30);\n}\n",
            "draw",
            "Draws the Circle on the canvas.",
        ),
        (
            "a.ts",
            "/** Waits until the queue is empty. */\nexport async function drain(queue: Queue): Promise<void> {\n  await queue.idle();\n}\n",
            "drain",
            "Waits until the queue is empty.",
        ),
        (
            "A.java",
            "class A {\n  /**\n   * Returns <code>true</code> if the list is empty.\n   */\n  boolean isEmpty() { return size == 0 && !open; }\n}\n",
            "A.isEmpty",
            "Returns true if the list is empty.",
        ),
        (
            "a.c",
            "/*\n** Return true if the page is dirty.\n*/\nstatic int isDirty(Page *page){\n  return page->flags & DIRTY;\n}\n",
            "isDirty",
            "Return true if the page is dirty.",
        ),
    ],
)
def test_pairs_of_languages_with_comments(path: str, text: str, name: str, summary: str) -> None:
    found = {pair.name: pair for pair in pairs_of_file("p", path, text)}
    assert found[name].summary == summary
    assert summary.split()[1] not in found[name].code.split("(")[0] or "//" not in found[name].code
    assert found[name].documented.startswith(("//", "/*"))
    assert found[name].code in found[name].documented
    assert not found[name].code.startswith(("//", "/*"))


def test_prose_sums_itself_up_and_generated_or_minified_files_are_left_out() -> None:
    body = "Pelicans keeps jobs in a queue on the disk. " + "It starts them again after a crash. " * 6
    (section,) = pairs_of_file("p", "README.md", f"# Pelicans\n\n{body}\n")
    assert (section.kind, section.summary) == ("section", "Keeps jobs in a queue on the disk.")
    code = "// Sum adds up all of the numbers.\nfunc Sum(n []int) int {\n\treturn fold(n, plus)\n}\n"
    assert len(list(pairs_of_file("p", "a.go", code))) == 1
    assert list(pairs_of_file("p", "a.go", "// Code generated by x. DO NOT EDIT.\n" + code)) == []
    assert list(pairs_of_file("p", "a.go", code + "// " + "x" * 3_000)) == []


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the name. And more.", "Return the name."),
        ("Return the\n    name of it\n\n    Details.", "Return the name of it."),
        ("Return a value, e.g. Three, for each.", "Return a value, e.g. Three, for each."),
        ("@brief Opens the file and reads it.", "Opens the file and reads it."),
        ("Opens the file\n@param path its path", "Opens the file."),
        ("Deprecated: use that one instead.", None),
        ("See the other function for it.", None),
        ("See https://example.org for it.", None),
        ("x : int, the first one of them", None),
        ("Gibt den Namen zurück und mehr.", None),
        ("Short.", None),
        ("Use eslint-disable to turn it off.", None),
    ],
)
def test_first_sentences(docstring: str, sentence: str | None) -> None:
    assert first_sentence(docstring) == sentence


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_first_sentence_is_plain_and_of_some_words(text: str, name: str) -> None:
    sentence = first_sentence(text, name)
    assert sentence is None or (sentence.isascii() and 3 <= len(sentence.split()) <= 30 and "\n" not in sentence)


def test_a_sentence_that_begins_with_the_name_begins_with_its_verb() -> None:
    assert first_sentence("Client is a connection to the server.", "Client") == "A connection to the server."
    assert first_sentence("Reader.Read reads a line of it.", "Reader.Read") == "Reader.Read reads a line of it."
    assert first_sentence("Read reads a line of it.", "Reader.Read") == "Reads a line of it."


def test_equal_and_nearly_equal_pairs_are_dropped() -> None:
    body = "\n".join(f"    total += weights[{i}] * values[{i}] + offset_{i}" for i in range(20))
    seen = Seen()
    assert seen.add(pair(f"def f(weights, values):\n{body}", "Return it.")) is None
    assert seen.add(pair(f"def  f(weights,values):\n{body}\n", "Return it.")) == "exact"
    assert seen.add(pair(f"def g(weights, values):\n{body}", "Return it.")) == "near"
    assert seen.add(pair("def other(path):\n    return open(path).read()", "Return it.")) is None


def test_packages_are_read_without_tests_examples_and_what_was_built(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x-1-py3-none-any.whl", "w") as wheel:
        for name in ("x/a.py", "x/tests/test_a.py", "x/_vendor/b.py", "x/data.bin"):
            wheel.writestr(name, "A = 1\n")
    assert [name for name, _ in files(tmp_path / "x-1-py3-none-any.whl")] == ["x/a.py"]
    with tarfile.open(tmp_path / "x-1.tgz", "w:gz") as tar:
        for name in (
            "package/src/a.ts",
            "package/dist/a.js",
            "package/lib/a.js",
            "package/src/a.d.ts",
            "package/README.md",
        ):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"x\n"))
    assert [name for name, _ in files(tmp_path / "x-1.tgz")] == ["package/README.md", "package/src/a.ts"]
    there = tmp_path / "npm" / "x-y-1.tgz"
    there.parent.mkdir()
    there.write_bytes(b"")
    assert fetch(Project("@x/y", "1", "npm", "MIT", "train"), tmp_path) == there
    with pytest.raises((subprocess.CalledProcessError, FileNotFoundError)):
        fetch(Project("no such package", "1", "debian", "MIT", "train"), tmp_path)


def test_the_list_of_projects_is_pinned_licensed_and_split() -> None:
    listed = projects()
    assert len({project.name for project in listed}) == len(listed) > 400
    copyleft = [
        p.name for p in listed if "GPL" in p.licence.replace("BSD-3-Clause OR GPL-2.0", "") or "MPL" in p.licence
    ]
    assert copyleft == []
    assert all(project.version and project.licence for project in listed)
    assert {project.role for project in listed} == {"train", "validation", "test"}


def test_a_corpus_is_built_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = tmp_path / "archives" / "pypi"
    archives.mkdir(parents=True)
    listed = [Project("one", "1", "pypi", "MIT", "train"), Project("two", "1", "pypi", "MIT", "test")]
    for project in listed:
        with zipfile.ZipFile(archives / f"{project.name}-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{project.name}.py", PYTHON)
            wheel.writestr(
                "only.py",
                f'def {project.name}_only(a):\n    """Give back what {project.name} got."""\n    return a if a else {project.name}\n',
            )
    monkeypatch.setattr("training.corpus.build.projects", lambda: listed)
    counts = build(tmp_path / "corpus", tmp_path / "archives", workers=1)
    assert [p.name for p in read(tmp_path / "corpus" / "test.jsonl")] == ["two_only", "A", "A.plain", "top"]
    assert [p.name for p in read(tmp_path / "corpus" / "train.jsonl")] == ["one_only"]  # the rest is in test already
    assert counts["dropped"] == {"exact": 3}
    assert json.loads((tmp_path / "corpus" / "statistics.json").read_text())["train"] == {"python": 1}


def test_scores_are_one_for_equals_and_fall() -> None:
    text = "Return the name of the file."
    for score in (smoothed_bleu, rouge_l):
        assert score(text, text) == pytest.approx(1.0)
        near, far = score(text, "Return the name of the folder."), score(text, "Parse a header.")
        assert 1 > near > far >= 0
    # By hand: 2 of 3 words, (1+1)/(2+1) of the pairs, (0+1)/(1+1) of the triples, 1/1 of the rest, as long as wanted.
    assert smoothed_bleu("a b c", "a b d") == pytest.approx((2 / 3 * 2 / 3 * 1 / 2 * 1) ** 0.25)
    assert rouge_l("a b c d", "a c x") == pytest.approx(2 * 2 / 7)
    assert rouge_l("a b", "") == 0
    mean, low, high = interval([0.0, 1.0] * 50)
    assert low < mean == 0.5 < high
    assert calibration_error([0.25] * 4 + [0.95] * 20, [True] + [False] * 3 + [True] * 19 + [False]) == pytest.approx(0)
    assert calibration_error([0.9] * 10, [False] * 10) == pytest.approx(0.9)


def test_baselines() -> None:
    assert name_words(pair(name="Reader.getHTTPName_2#3")) == "get http name 2."
    train_pairs = [
        pair("def read_file(path):\n    return open(path).read()", "Read a file."),
        pair("def add(a, b): pass", "Add."),
    ]
    assert nearest_summaries(train_pairs, [pair("def read_all(path, file): ...")]) == ["Read a file."]


def tiny_run(folder: Path) -> tuple[Path, argparse.Namespace]:
    pairs = [pair(f"def add_{i}(a, b):\n    return a + b + {i}", f"Add two numbers and {i}.") for i in range(40)]
    tokenizer = train_tokenizer(pairs, vocabulary=300)
    data = folder / "packed"
    data.mkdir()
    tokenizer.save_pretrained(data / "tokenizer")
    for role in ("train", "validation"):
        np.savez(data / f"{role}.npz", **pack(pairs, tokenizer, seed=0))
    settings = {"steps": 8, "decay": 0.5, "batch": 8, "rate": 2e-3, "hidden": 64, "layers": 1, "seed": 0}
    return data, argparse.Namespace(data=data, device="cpu", compile=False, **settings)


def test_a_batch_has_loss_on_the_whole_summary_and_some_of_the_code(tmp_path: Path) -> None:
    data, _ = tiny_run(tmp_path)
    packed = Packed(data / "train.npz")
    batches = list(packed.epoch(8, seed=1))
    assert sum(len(batch.ids) for batch in batches) == 40
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(batches, packed.epoch(8, seed=1), strict=True))
    wanted = int((packed.lengths - packed.starts).sum())
    assert sum(int((batch.weights == 1.0).sum()) for batch in batches) == wanted
    for batch in batches:
        assert torch.equal(batch.ids.reshape(-1)[batch.positions + 1], batch.targets)
    assert len(Packed(data / "train.npz", most=10).members) == 10


def test_a_run_that_is_stopped_ends_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, settings = tiny_run(tmp_path)
    monkeypatch.setattr(train, "SECONDS_BETWEEN_CHECKPOINTS", 0)

    def arguments(out: str) -> argparse.Namespace:
        return argparse.Namespace(out=tmp_path / out, **vars(settings))

    train.Training(arguments("whole")).run()
    update = train.Training._update

    def stopped(self: train.Training, batch: Batch) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        update(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Training, "_update", stopped)
        train.Training(arguments("stopped")).run()
    resumed = train.Training(arguments("stopped"))
    assert resumed.step == 3
    resumed.run()
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "stopped"))
    for part in ("model", "average"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    assert (tmp_path / "stopped" / "model" / "dobby.json").exists()
    assert torch.load(tmp_path / "whole" / "before-decay.pt", weights_only=True)["step"] == 4
    assert [train.learning_rate(step, 1_000, 0.5) for step in (0, 199, 400, 750, 1_000)] == [1 / 200, 1, 1, 0.5, 0]


def test_attention_of_training_is_that_of_torch(tmp_path: Path) -> None:
    from training.model import matrix_attention

    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 9, 16), torch.randn(2, 1, 9, 16), torch.randn(2, 1, 9, 16)
    mine, _ = matrix_attention(None, query, key, value, None, scaling=0.25)
    torchs = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    assert torch.allclose(mine, torchs.transpose(1, 2), atol=1e-5)


def test_calibration_finds_what_the_log_probabilities_tell() -> None:
    from dobby_dagster.inference.confidence import Signs
    from dobby_dagster.inference.engine import Generation

    rng = np.random.default_rng(0)
    answered = []
    for mean in rng.uniform(-3, 0, 400):
        true = rng.random() < 1 / (1 + np.exp(-(3 + 3 * mean)))
        text = "Return the name of it." if true else "Parse."
        generation = Generation("0", text, 0.5, mean, mean - 1, "stop", 10, 8, False, 0.0)
        answered.append(Answered(pair("def f(): pass", "Return the name of it."), generation, False))
    calibration = fit(answered)
    given = [calibration.probability(signs(a)) for a in answered]
    assert calibration_error(given, [a.answer.text != "Parse." for a in answered]) < 0.06
    assert calibration.probability(Signs(-0.1, -1.1, 8, False)) > 0.8
    assert calibration.probability(Signs(-2.5, -3.5, 8, False)) < 0.3


def test_an_evaluation_of_the_built_in_model(tmp_path: Path) -> None:
    found = [pair for _, text in [("a.py", PYTHON)] for pair in pairs_of_file("p", "a.py", text)]
    train_pairs = [pair("def read_file(path):\n    return open(path).read()", "Read a file and return it.")]
    page, answered = evaluation(MODEL, found, train_pairs, 10, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 1_000
    assert "| python | 3 of 1 |" in page
    assert all(name in page for name in ODDITIES)
    assert "## python" in samples_page(answered, 2)
    assert sample(found, ["python", "go"], 2).keys() == {"python"}
    assert [p.code for p in with_documentation(found[:1])] == [found[0].documented]
    assert answers(MODEL, []) == []


def test_pairs_survive_their_file(tmp_path: Path) -> None:
    pairs = [pair('x = "ü"\n', "Return\u2028it."), pair()]
    assert write(tmp_path / "pairs.jsonl", pairs) == 2
    assert read(tmp_path / "pairs.jsonl") == pairs
