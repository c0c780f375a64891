# Every habit of the project has one name here; pre-commit and .ci/run call the same targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
INSTALLED := $(VENV)/.installed
PINNED = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r
# Three processes for two cores, since runs of the DAG wait for one another; a second thread in each would only spin.
# Bytecode is written whatever the shell says: else every worker and every stage compiles all sources anew.
TESTS := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\# .*/\1/p' Makefile)

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with the locked dependencies and the packages, and set up DVC

$(INSTALLED): $(wildcard requirements.*lock) $(wildcard packages/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "error: Python 3.11, 3.12 or 3.13 is needed (found: $$($(PYTHON) --version)); say which with make PYTHON=..."; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PINNED) requirements.cpu.lock 2> /dev/null || echo "No CPU build of torch is served here that is pinned: PyPI's is taken"
	@$(PINNED) requirements.lock
	@if $(BIN)/python -c 'import re, sys; from importlib.metadata import requires; sys.exit(not any(re.match("nvidia-|cuda-|triton", line) for line in requires("torch")))'; \
	  then $(PINNED) requirements.cuda.lock; fi
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # like pip: some files are in the syntax of another Python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  $(foreach package,$(wildcard packages/*/pyproject.toml),-e $(dir $(package)))
	@touch $@

encoder: install ## Add what reads a pretrained encoder of texts, pinned (tokenize.news_vectors.kind: transformer)
	@$(PINNED) requirements.encoder.lock

lock: install ## Resolve requirements.in into requirements*.lock, with digests: make lock [ARGS=--upgrade]
	@$(BIN)/python -m pip install --quiet uv
	@python -m stages.commands.lock $(ARGS)
	@$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform linux --no-header --no-annotate \
	  --constraints requirements.lock deploy/requirements.in -o .venv/requirements.serve
	@{ echo "# Made by 'make lock' from requirements.in; do not edit."; cat .venv/requirements.serve; } > deploy/requirements.lock

format: install ## Format and sort imports
	@ruff check --fix --quiet . || true
	@ruff format --quiet .

lint: install ## Lint, check the format, the import contracts and the repository's hygiene
	@ruff check .
	@ruff format --check .
	@PYTHONPATH=.:packages/data/src:packages/metrics/src:packages/models/src:packages/experiments/src:packages/serve/src lint-imports --no-cache
	@python -m pytest tests/test_repository.py

types: install ## Check types
	@mypy packages/data/src packages/metrics/src packages/models/src packages/serve/src
	@mypy packages/experiments/src
	@mypy stages studies

test: install ## Run the tests
	@$(TESTS) -m "not real_data"

test-fast: install ## The inner loop, under two minutes: no DAG runs, no processes that train
	@$(TESTS) -m "not real_data and not end_to_end and not slow"

test-isa: install ## Run the numeric tests as CPUs with AVX2 and with SSE4 alone would (some twenty minutes on two cores)
	@python tests/instruction_sets.py $(SETS)

repro: install ## Run the whole DAG (only what changed) and show where the report is
	@python -m stages.params
	@dvc repro
	@python -m stages.commands.show

why: install ## Say which setting, module or data makes a stage run: make why STAGE=train@lstm
	@python -m stages.commands.why $(STAGE)

check: install ## Go through what is to be looked at before, during and after a training: make check WHEN=before
	@python -m stages.commands.check $(WHEN)

news-effect: install ## Judge every model with news and without, and print the paired differences
	@python -m stages.commands.news_effect

restore: install ## Bring back the last good results that a failed run took away; params.yaml stays as it is
	@python -m stages.commands.restore

verify: install ## Read every file of data/ and results/ and name those that are not what was written
	@python -m stages.commands.verify $(ARGS)

gates: install ## Say what the stack lacks to be promoted, and by how much, counting all looks; exit 1 where it is not
	@python -m stages.commands.gates

refit: install ## Train the promoted stack once more, up to the last date, and write its bundle (docs/serving.md)
	@cp refit/map.yaml refit/dvc.yaml # from here on dvc knows it: a map that nobody asked for would never be up to date
	@python -m stages.params
	@dvc repro refit/dvc.yaml

promote: install ## Make a bundle the champion, in git tags and DVC: make promote NAME=default [BUNDLE=results/refit/bundle] [ARGS=--unpromoted]
	@python -m stages.commands.registry promote "$(NAME)" $(if $(BUNDLE),--bundle "$(BUNDLE)") $(ARGS)

rollback: install ## Make an earlier version the champion again: make rollback NAME=default [TO=v1]
	@python -m stages.commands.registry rollback "$(NAME)" $(if $(TO),--to "$(TO)")

registry: install ## List who was champion when, and what the gates said
	@python -m stages.commands.registry list $(ARGS)

preset: install ## Lay a preset over params.yaml: make preset NAME=smoke
	@python -m stages.commands.preset $(NAME)

compare: install ## Are two revisions, branches or experiments different, and by what: make compare A=main B=workspace [ARGS=--json]
	@factor-exp compare "$(A)" "$(B)" --page .live/compare.html $(ARGS)

trials: install ## Count every trial and say whether the best is more than luck: make trials [ARGS="--label h5 --json"]
	@factor-exp trials --page .live/trials.html $(ARGS)

sweep: install ## Try values of params.yaml as DVC experiments, best by valid dates: make sweep FILE=sweeps/example.yaml
	@python -m stages.commands.sweep "$(FILE)"

board: install ## One offline site of all experiments: list, any two compared, verdict, reports: make board [ARGS="--serve 8000"]
	@factor-exp board .live/board --sweeps .live/sweeps $(ARGS)

verdict: install ## Judge the trial of a sweep that is best on valid dates on its test dates: make verdict FILE=sweeps/example.yaml
	@python -m stages.commands.verdict "$(FILE)" $(ARGS)

leaderboard: install ## Write docs/leaderboard.md: all forecasts of the results, in order, with ranks that are not told apart
	@factor-exp leaderboard --out docs/leaderboard.md --page .live/leaderboard.html $(ARGS)

live-ic: install ## Have a training network report its IC now: make live-ic MODEL=lstm
	@python -m stages.commands.live_ic "$(MODEL)"

targets: install ## Hold the numbers of the last run against a file of thresholds: make targets FILE=targets/direction_hourly.yaml
	@python -m stages.commands.targets "$(FILE)"

experiments: install ## Compare experiments: what differs and what came of it, in tables that fit the terminal
	@python -m stages.commands.experiments $(ARGS)

$(BENCH)/bin/python: benchmarks/requirements.txt
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

interop: $(BENCH)/bin/python ## Hand forecasts, books and bars to other libraries and back, in an environment of their own, and compare
	@for name in ic platforms; do \
	  PYTHONPATH=packages/data/src:packages/metrics/src $(BENCH)/bin/python benchmarks/agreement_$$name.py || exit 1; done

bench: install $(BENCH)/bin/python ## Measure against the peers, in an environment of its own, and print each ratio
	@for name in rank_ic alpha158 windows evaluation books readers clean significance; do echo "== $$name"; \
	  PYTHONPATH=packages/data/src:packages/metrics/src $(BENCH)/bin/python benchmarks/bench_$$name.py || exit 1; done
	@echo "== train_step"; python benchmarks/bench_train_step.py --peer $(BENCH)/bin/python
	@echo "== serve"; python benchmarks/bench_serve.py --peer $(BENCH)/bin/python

study-acl18: install ## Next-day movement of 87 stocks by the published protocol, from prices and tweets (an hour; goes on where it stopped)
	@python -m studies.acl18 $(ARGS)

study-nasdaq: install ## The zoo on the NASDAQ days of the RSR papers, causally (hours; goes on where it stopped)
	@python -m studies.nasdaq $(ARGS)

study-planted: install ## What each model finds of each signal that is planted, five markets each (hours; goes on where it stopped)
	@python -m studies.planted_signals $(ARGS)

study-defaults: install ## Variants of params.yaml against it on markets of other seeds (an hour; goes on where it stopped)
	@python -m studies.defaults $(ARGS)

study-volatility: install ## Volatility: floors, HAR among them, beside models (minutes; goes on where it stopped)
	@python -m studies.volatility $(ARGS)

study-meta: install ## Which meta learner stacks best, on simulated markets (half an hour; goes on where it stopped)
	@python -m studies.meta_learners $(ARGS)

study-gates: install ## False and missed promotions on markets without a signal and with a weak one (half an hour; goes on where it stopped)
	@python -m studies.gates $(ARGS)

study-sweeps: install ## What Optuna with pruning saves against a grid, by make sweep itself (half an hour; goes on where it stopped)
	@python -m studies.sweeps $(ARGS)

study-books: install ## Books on NASDAQ and ACL18 net of 1, 5, 10 and 20 basis points (half an hour; goes on where it stopped)
	@python -m studies.net_books $(ARGS)

study-kline: install ## The K-line model on real five-minute bars, and against the entropy of simulated ones (minutes)
	@python -m studies.kline_5min $(ARGS)
	@python -m studies.kline_entropy

study-flow: install ## A flow of docs/flows at a real size: make study-flow NAME=news [ARGS=--cost] (says the hours first; goes on where it stopped)
	@python -m studies.flows $(NAME) $(ARGS)

# Constraints have no digests: with one, pip asks for those of all.
site: install ## Build the documentation as a site, offline, warnings as errors: .live/site/index.html
	@sed -n 's/^\([a-zA-Z0-9._-]*==[^\\]*\).*/\1/p' requirements.lock > $(VENV)/constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt -c $(VENV)/constraints.txt
	@python -m sphinx -q -W --keep-going -j auto -b html -c docs/site docs .live/site && echo ".live/site/index.html"

notebooks: install ## Run docs/notebooks cell by cell and write their outputs
	@python tests/run_notebooks.py

lr-find: install ## Learning rate range test of a network: make lr-find MODEL=lstm
	@python -m stages.commands.lr_find "$(MODEL)"

fuzz-http: install ## Send malformed requests to the bundle of the last run: make fuzz-http ARGS="--rounds 10000 --schemathesis 2000"
	@PYTHONPATH=.:tests python tests/fuzz_http.py $(ARGS)

fuzz: install ## Damage what is kept on disk and read it again, from seeds (long): make fuzz ARGS="--seed 2"
	@for file in tests/fuzz_*.py; do PYTHONPATH=.:tests:tests/dag python $$file $(ARGS) || exit 1; done

soak: install ## Kill training runs, 50 times, then each stage, use-data, imports, 65 times (long); write benchmarks/results/kill_*.md
	@PYTHONPATH=.:tests:tests/dag python tests/soak_kill.py $(or $(KILLS),50) --stage-kills $(or $(STAGE_KILLS),65) --date "$$(date +%F)"

use-data: install ## Replace the simulated market by your own: make use-data SRC=folder [ARGS="--layout ..."]
	@python -m stages.commands.use_data "$(SRC)" $(ARGS)

sample-data: install ## Go back to the simulated market
	@python -m stages.commands.use_data --sample

clean: ## Delete what can be made again: caches, checkpoints, bytecode (not the data, results and DVC cache)
	@rm -rf .checkpoints .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
