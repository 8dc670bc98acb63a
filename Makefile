# `make help` lists the targets. Needs make and Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= python3
HOST   ?= 127.0.0.1
PORT   ?= 8000
ARGS   ?=

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV   := $(BIN)/uv
LOCK := $(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
# For Linux, macOS and Windows and every supported Python, with one version of each package.
EVERYWHERE := --universal --fork-strategy fewest
# Tests of one file stay together, since they share what is costly to make; the longest files come first (tests/conftest.py).
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
AUDIT := $(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run batch anndata dicom install test test-fast check format container-test cluster-test bench openapi measurements lock audit sbom clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

run: $(VENV)/.serve ## serve the shipped bundle (HOST=127.0.0.1 PORT=8000)
	@$(BIN)/marrowscope serve --host $(HOST) --port $(PORT)

batch: $(VENV)/.batch ## install what whole slides and cohorts need, too, and say how to analyse them
	@echo "Ready: $(BIN)/marrowscope batch SLIDES --out DIR    (SLIDES: slides, tiles or folders of them; all options: $(BIN)/marrowscope batch --help)"

anndata: $(VENV)/.exchange ## install what `marrowscope batch --anndata` needs, too
	@echo "Ready: $(BIN)/marrowscope batch SLIDES --out DIR --anndata"

dicom: $(VENV)/.exchange ## install what `marrowscope batch --dicom-annotations` needs, too
	@echo "Ready: $(BIN)/marrowscope batch SLIDES --out DIR --dicom-annotations"

install: $(VENV)/.test ## install everything into .venv, training and tests included

test: $(VENV)/.test ## run every test, on every core (ARGS= are passed to pytest: ARGS="-n 0 tests/api" for one process)
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: $(VENV)/.test ## run the tests that take seconds
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

check: $(VENV)/.test ## formatter, linters, types, import rules, contract drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.openapi --check
	$(BIN)/python -m app.measurements --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile integrations/dsa/Dockerfile
	$(BIN)/kubernetes-validate --strict --quiet --no-warn deploy/kubernetes/*.yaml

format: $(VENV)/.test ## format the code and sort its imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

container-test: $(VENV)/.serve ## build the image, run it as compose says, check both (Docker, or podman and buildah as root)
	@docker info >/dev/null 2>&1 || command -v podman-compose >/dev/null || $(PIP) install podman-compose==1.6.0
	@bash container/test.sh

cluster-test: $(VENV)/.batch ## run a cluster in containers for whole slides, kill a worker at work, and compare the results
	@docker info >/dev/null 2>&1 || command -v podman-compose >/dev/null || $(PIP) install podman-compose==1.6.0
	@bash container/cluster.sh

bench: $(VENV)/.test ## speed and memory, beside the reference recipe and the machine's floor (ARGS="--soak 2000")
	@$(BIN)/python -m bench $(ARGS)

openapi: $(VENV)/.test ## write openapi.json anew
	$(BIN)/python -m app.openapi

measurements: $(VENV)/.test ## write docs/measurements.md anew
	$(BIN)/python -m app.measurements

lock: $(VENV)/.uv ## write the hash-locked requirements anew (ARGS=--upgrade for newer versions)
	$(LOCK) $(EVERYWHERE) $(ARGS) -o requirements/serve.txt pyproject.toml
	$(LOCK) $(EVERYWHERE) $(ARGS) -o requirements/batch.txt pyproject.toml --extra batch --extra postgres \
	    --constraints requirements/serve.txt
	$(LOCK) $(EVERYWHERE) $(ARGS) -o requirements/exchange.txt pyproject.toml --extra batch --extra postgres \
	    --extra anndata --extra dicom --constraints requirements/batch.txt
	$(LOCK) $(EVERYWHERE) $(ARGS) -o requirements/test.txt pyproject.toml requirements/torch-deps.in \
	    --extra training --extra histomics --extra batch --extra postgres --extra anndata --extra dicom --extra test \
	    --constraints requirements/exchange.txt --excludes requirements/not-locked.in
	$(LOCK) --python-platform x86_64-manylinux_2_28 $(ARGS) -o requirements/gpu.txt pyproject.toml requirements/gpu.in \
	    --constraints requirements/serve.txt --excludes requirements/gpu-replaces.in

# Strict: a package that could not be looked up is a failure too.
audit: $(VENV)/.audit ## look the locked packages up among the known vulnerabilities (needs the internet)
	$(AUDIT) -r requirements/serve.txt -r requirements/batch.txt -r requirements/exchange.txt -r requirements/gpu.txt -r requirements/test.txt
	$(AUDIT) -r requirements/torch.txt

sbom: $(VENV)/.sbom ## list what the service is made of, in sbom.json (CycloneDX, validated)
	@$(VENV)/sbom/bin/python -W ignore -m cyclonedx_py requirements requirements/serve.txt --pyproject pyproject.toml --output-reproducible \
	    --validate --output-file sbom.json

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that an installation is complete and newer than what it was made from.
$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed: Python 3.11 or newer is needed (or name one: make PYTHON=/path/to/python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: $(PYTHON) is Python %d.%d: 3.11 or newer is needed (or name one: make PYTHON=/path/to/python3)" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: $(VENV)/.created requirements/serve.txt pyproject.toml
	@echo "Installing the service into $(VENV) (about a minute the first time)"
	@$(PIP) install --no-deps --require-hashes -r requirements/serve.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.exchange: $(VENV)/.batch requirements/exchange.txt
	@echo "Installing what AnnData and DICOM need into $(VENV)"
	@$(PIP) install --no-deps --require-hashes -r requirements/exchange.txt
	@touch $@

$(VENV)/.batch: $(VENV)/.serve requirements/batch.txt
	@echo "Installing what batches need into $(VENV) (about a minute the first time)"
	@$(PIP) install --no-deps --require-hashes -r requirements/batch.txt
	@touch $@

$(VENV)/.test: $(VENV)/.serve requirements/test.txt requirements/torch.txt
	@echo "Installing what the tests need into $(VENV) (minutes the first time; PyTorch is large)"
	@$(PIP) install --no-deps --require-hashes -r requirements/test.txt
	@$(PIP) install -r requirements/torch.txt
	@touch $@

$(VENV)/.uv: $(VENV)/.created
	@$(PIP) install uv==0.13.9
	@touch $@

# Each in an environment of its own: what they need is not locked, and must not change what is.
$(VENV)/.sbom: $(VENV)/.created
	@$(PYTHON) -m venv $(VENV)/sbom
	@$(VENV)/sbom/bin/python -m pip --disable-pip-version-check --quiet install cyclonedx-bom==7.5.0
	@touch $@

$(VENV)/.audit: $(VENV)/.created
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit==2.10.1
	@touch $@
