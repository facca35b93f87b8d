"""Capitals make names only in English: German nouns are no foreign names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.settings import SecondTry
from dobby_dagster.inference.engine import Avoid, Generation, Request
from dobby_dagster.inference.local.avoidance import Avoidance
from dobby_dagster.inference.scoring.grounding import unsupported_names
from dobby_dagster.inference.scoring.natural_language import is_foreign
from dobby_dagster.pipeline.summarization.second_try import Attempt, avoided
from dobby_dagster_tests.helpers.pipeline_run import PROMPT

CODE = "def read_rows(path, limit):\n    with open(path) as file:\n        return list(file)[:limit]\n"
GERMAN = "Der Bundestag wählt den Kanzler mit der Mehrheit seiner Mitglieder. Die Wahl ist geheim und frei."
FRENCH = "La ville de Lyon est située dans le sud-est. Elle est connue pour ses ponts sur le Rhône."
SENTENCES = {
    "German": "Liest die ersten Zeilen einer Datei und gibt eine Liste zurück.",
    "French": "Lit les lignes du fichier pour la Bibliothèque.",
    "Spanish": "Lee las líneas de un Archivo con el límite.",
    "Italian": "Legge le righe della Lista che sono nel file.",
    "Portuguese": "Lê uma Lista para cada linha.",
    "Dutch": "Leest het Bestand en geeft een Lijst.",
    "Swedish": "Läser raderna som är på en Fil.",
    "Polish": "Czyta wiersze oraz nie zwraca Listy.",
    "Greek": "Διαβάζει τις γραμμές του Αρχείου.",
}


def output(text: str) -> Generation:
    return Generation("a", text, 0.5, -0.5, -1.0, "stop", 10, 7, False, 0.5, 1.0, 0.25)


def again(text: str, content: str, when: SecondTry = "ungrounded") -> Avoid | None:
    return avoided(Attempt.of(output(text), content, PROMPT.text), content, when)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_of_another_language_is_not_tried_again_for_its_capitals(language: str) -> None:
    assert is_foreign(SENTENCES[language])
    assert again(SENTENCES[language], CODE) is None


@pytest.mark.parametrize("content", [GERMAN, FRENCH])
def test_a_translation_is_not_tried_again_for_its_capitals(content: str) -> None:
    assert is_foreign(content, least=5)
    assert again("Describes the election of the Chancellor by Parliament.", content) is None


def test_other_names_count_in_every_language() -> None:
    text = "Liest die Zeilen der Datei mit einem RichServer und my_reader2."
    assert unsupported_names(text, CODE) == ("RichServer", "my_reader2")
    wanted = again(text, CODE)
    assert wanted == Avoid(capitals=False)
    second = Avoidance(Request("a", CODE, avoid=wanted), decode=str, ends={0})
    allowed = [second.forbids(text) for text in ("Liest die Zeilen", "Liest die RichS", "Gibt eine my_re")]
    assert allowed == [False, True, True]


def test_a_refused_output_of_another_language_may_have_nouns_again() -> None:
    assert again("Liest die Zeilen der DateiDateiDatei.", CODE, "refused") == Avoid(repeats=True, capitals=False)


def test_names_in_english_still_count() -> None:
    for text in ("Read the rows of a Flask.", "Read rows of Flask.", "Parses an Überblick for the Flask."):
        assert "Flask" in unsupported_names(text, CODE), text
        assert again(text, CODE) == Avoid()


@pytest.mark.parametrize(
    "text",
    [
        "Return MIT Flask license.", "Compute log det using Flask.", "Compute Poincaré map using Flask.",
        "Return SE per Flask.", "Convert EST dates with Flask.", "Close con, then con, by Flask.",
        "Resize im, a copy of im, en route to Flask.",
    ],
)  # fmt: skip
def test_english_with_names_that_are_words_elsewhere_is_english(text: str) -> None:
    assert not is_foreign(text)
    assert "Flask" in unsupported_names(text, CODE)


def test_code_with_names_that_are_words_elsewhere_is_no_other_language() -> None:
    code = "def f(im, det, con):\n" + "    im = det.mit(im, per=con.est, se=en)\n" * 9
    assert not is_foreign(code, least=5)
    assert unsupported_names("Resize the image with Flask.", code) == ("Flask",)


@given(st.text(), st.integers(2, 5))
def test_any_text_has_an_answer_that_more_of_it_confirms(text: str, least: int) -> None:
    assert is_foreign(text, least) <= is_foreign(text)
    assert is_foreign(f"{text} {text}") == is_foreign(text)
