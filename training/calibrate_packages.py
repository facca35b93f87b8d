"""Fit what the confidence in summaries of packages without documentation means, and store it in the model's card.

    python -m training.calibrate_packages --model models/dobby-code-73m FOLDER...

FOLDERs hold Python packages that the model was not trained on. A package is shown to the model as Dobby shows it: its
name, and its files with their summaries by the same model, without what its author says of it. As
:mod:`training.calibrate` has it, the confidence is the probability of agreeing with the author's sentence. Summaries of
packages that say themselves what they are keep the weights of code.

Prints the share that agrees, the mean confidence and the expected calibration error: by the weights of code, and
without documentation also by weights fitted to the other four fifths of the packages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.content_room import content_room
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.model_lookup import check_model
from dobby_dagster.inference.scoring.calibration_fit import fit_weights
from dobby_dagster.inference.scoring.confidence import Calibration
from dobby_dagster.inference.scoring.content_kind import PACKAGE
from dobby_dagster.ingest.documents.own_documentation import own_documentation
from dobby_dagster.pipeline.outlines.outline_text import Part, outline
from training.calibrate import agrees, features
from training.evaluation.answers import PROMPT, Answered, answers_of
from training.evaluation.metrics import calibration_error
from training.evaluation.outline_forms import documented, pairs, parts_of, summarized

FILES, FOLDS = 6, 5


def answered(model: Path, folders: Sequence[Path]) -> list[tuple[int, bool, Answered]]:
    """What the model answers: the number of the package, whether with its documentation, and the answer."""
    engine = LocalEngine(check_model(model), ModelSettings(), InferenceSettings())
    engine.load()
    room = content_room(ModelSettings(), InferenceSettings(), PROMPT)
    packages = list(documented(folders, packages=True))
    files = [_files(path) for path, _, _ in packages]
    texts = [(path, path.read_text(errors="replace")) for group in files for path in group]
    parts = [parts_of(path, text) for path, text in texts]
    parts = summarized(engine, parts, [part.content for group in parts for part in group])
    outlines = [
        outline(own_documentation(path, text), group, room) for (path, text), group in zip(texts, parts, strict=True)
    ]
    groups = summarized(engine, [[Part(path.name, "file") for path in group] for group in files], outlines)
    contents, said = [], []
    for own in (False, True):
        for (path, text, sentence), group in zip(packages, groups, strict=True):
            contents.append(outline(own_documentation(path, text) if own else "", group, room, path.parent.name))
            said.append(sentence)
    found = answers_of(engine, pairs(contents, said), "never")
    numbers = [divmod(int(each.pair.name), len(packages)) for each in found]
    return [(package, bool(own), each) for (own, package), each in zip(numbers, found, strict=True)]


def _files(package: Path) -> list[Path]:
    return [path for path in sorted(package.parent.glob("*.py")) if path.name != "__init__.py"][:FILES]


def told(title: str, given: Sequence[float], truths: Sequence[bool]) -> None:
    """Print how confidences compare with what agreed."""
    print(
        f"{title}: {len(truths)}, agree {fmean(truths):.1%}, mean confidence {fmean(given):.3f}, "
        f"ECE {calibration_error(given, truths):.3f}"
    )


def main() -> None:
    """Parse the command line, fit, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of Python packages")
    parser.add_argument("--model", type=Path, default=Path("models/dobby-code-73m"))
    arguments = parser.parse_args()
    card = json.loads((arguments.model / CARD).read_text())
    before = Calibration.model_validate(card["calibration"])
    found = answered(arguments.model, arguments.folders)
    bare = [(package, each) for package, own, each in found if not own]
    outputs = [features(each) for _, each in bare]
    agreeing = [agrees(each) for _, each in bare]
    held_out = [0.0] * len(bare)
    for fold in range(FOLDS):
        learned = [at for at, (package, _) in enumerate(bare) if package % FOLDS != fold]
        weights = fit_weights([outputs[at] for at in learned], [agreeing[at] for at in learned])
        for at in set(range(len(bare))).difference(learned):
            held_out[at] = weights.probability(outputs[at])
    documented_ones = [each for _, own, each in found if own]
    told("documented, weights of code", [before.probability(features(each)) for each in documented_ones],
         [agrees(each) for each in documented_ones])  # fmt: skip
    told("undocumented, weights of code", [before.probability(each) for each in outputs], agreeing)
    told("undocumented, weights of packages", held_out, agreeing)
    weights = fit_weights(outputs, agreeing)
    card["calibration"] = before.model_copy(update={"kinds": {**before.kinds, PACKAGE: weights}}).model_dump()
    (arguments.model / CARD).write_text(json.dumps(card, indent=2) + "\n")
    print(weights.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
