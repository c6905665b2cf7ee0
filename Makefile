.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test coverage mutation audit lint docs bench-tiles bench-input bench-audit bench-journal bench-line bench-station bench-accuracy bench-candidates bench-peers bench-scaling clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(READY) ## Everything into .venv, so that .venv/bin/qc is there

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: setup ## Draw parts, train, export, inspect, show: the main job on parts it draws itself
	$(BIN)/qc demo

test: setup ## All tests, a process for each core
	$(BIN)/python -m pytest -n auto --dist loadgroup

coverage: setup ## All tests with coverage of qc and edge, processes too; fails below 90 % (half as long again as test)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist loadgroup
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='qc/*' --format=total
	$(BIN)/coverage report --include='edge/*' --format=total
	$(BIN)/coverage report

MUTATION := .mutation

$(MUTATION)/.ready: $(READY) tests/mutation/requirements.txt
	$(PYTHON) -m venv --clear $(MUTATION)
	$(MUTATION)/bin/pip install --quiet --disable-pip-version-check -r tests/mutation/requirements.txt
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		>$$($(MUTATION)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tested.pth
	@touch $@

mutation: setup $(MUTATION)/.ready ## Mutants of the policy, the figures and the bundle against their tests (ten minutes)
	rm -rf mutants
	$(MUTATION)/bin/mutmut run
	$(MUTATION)/bin/python tests/mutation/survivors.py mutants docs/mutation.md

AUDIT := .audit
TOOLS := $(AUDIT)/tools/bin

$(AUDIT)/tools/.ready: tests/audit/requirements.txt
	$(PYTHON) -m venv $(AUDIT)/tools
	$(TOOLS)/pip install --quiet --disable-pip-version-check -r tests/audit/requirements.txt
	@touch $@

$(AUDIT)/edge/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(AUDIT)/edge
	$(AUDIT)/edge/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[edge]'
	@touch $@

audit: setup $(AUDIT)/tools/.ready $(AUDIT)/edge/.ready ## Known vulnerabilities, and bills of materials in audit-out (exit 3 where the service is silent)
	$(TOOLS)/python tests/audit/audit.py --out audit-out --constraints constraints.txt \
		--environment edge=$(AUDIT)/edge/bin/python --environment all=$(BIN)/python

lint: setup ## ruff, mypy and the boundary tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/boundary

docs: setup ## docs/reference, from the models and the command line
	$(BIN)/python -m qc.reference docs/reference

bench-tiles: setup ## Magnetic tiles, three seeds (needs QC_DATA and QC_WEIGHTS; about an hour)
	$(BIN)/python tests/bench/magnetic_tile.py

bench-input: setup ## How long training waits for its pictures (needs QC_DATA; two minutes)
	$(BIN)/python tests/bench/input_path.py

bench-audit: setup ## The audit of 10,000 images: at most two minutes and 1 GB
	$(BIN)/python tests/bench/audit.py

BUNDLE ?= demo-out/bundle.tflite

bench-line: setup ## The line beside a bare loop, latency, memory, start, size (BUNDLE; 40 minutes)
	$(BIN)/python tests/bench/line.py $(BUNDLE)

bench-station: setup ## The line's p99 alone and while somebody reviews: within a tenth; from a key to the next picture: 100 ms (six minutes)
	$(BIN)/python tests/bench/station_beside_line.py
	$(BIN)/python tests/bench/next_picture.py

bench-journal: setup ## The journal: 2,000 rows a second, a lot of a million rows in 1 s, 20 kills (ten minutes)
	$(BIN)/python tests/bench/journal.py

ROWS := docs/benchmarks/accuracy.jsonl

bench-accuracy: setup ## Blocks, backbones and masks on four sets (QC_DATA, QC_WEIGHTS; many hours, goes on where it stopped)
	$(BIN)/python tests/bench/accuracy.py bench-accuracy --known $(ROWS)
	$(BIN)/python tests/bench/accuracy.py bench-accuracy --known $(ROWS) --leaky --variants flagship --seeds 0
	$(BIN)/python tests/bench/accuracy_table.py $(ROWS) bench-accuracy/rows.jsonl

CANDIDATES := docs/benchmarks/candidates.jsonl
MAKE_CANDIDATES := $(BIN)/python tests/bench/candidates.py bench-candidates --known $(CANDIDATES)

bench-candidates: setup ## What each scheme costs and keeps, six runs, two targets (QC_DATA, QC_WEIGHTS; hours, goes on where it stopped)
	$(MAKE_CANDIDATES)
	$(MAKE_CANDIDATES) --variants flagship --targets cpu --calibration 16 32 128 512
	$(BIN)/python tests/bench/candidates_table.py $(CANDIDATES) bench-candidates/rows.jsonl

PEERS := bench-peers

bench-peers: setup ## Beside anomalib, ONNX Runtime, OpenVINO, Grad-CAM, plain fit and TensorFlow (ONLY="latency maps training start", AGAIN=1; QC_WEIGHTS; 7 GB of environments, then 20 minutes)
	$(BIN)/python tests/bench/peers.py $(PEERS) $(if $(ONLY),--only $(ONLY)) $(if $(AGAIN),--again)
	$(BIN)/python tests/bench/peers_table.py $(PEERS)/rows.jsonl

bench-scaling: setup ## The line by threads, size of the pictures and sources (ONLY="threads size sources", AGAIN=1; ten minutes)
	$(BIN)/python tests/bench/scaling.py $(PEERS) $(if $(ONLY),--only $(ONLY)) $(if $(AGAIN),--again)
	$(BIN)/python tests/bench/scaling_table.py $(PEERS)/scaling.jsonl --plots $(PEERS)

clean: ## Remove what was made, but no run and no journal
	rm -rf $(VENV) $(AUDIT) $(MUTATION) audit-out mutants build *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
