# kit's front door. On a fresh Debian machine: `make demo`, `make test`; nothing before them.
.DEFAULT_GOAL := help
.PHONY: help install engine tools images demo check format schemas test test-fast coverage test-heavy test-runtimes test-images explore fuzz bench pictures lock docs derived dist clean

PY := .venv/bin/python
UV := .cache/uv/bin/uv
# Two workers more than cores, since many tests wait for a container or a sampler; eight at most,
# each of which takes some 400 MB.
WORKERS := -n $(shell n=$$(nproc); [ $$n -lt 7 ] || n=6; expr $$n + 2)
# Hundreds of tests start kit: byte code is kept whatever the environment says, and numpy makes no
# threads, which a process that computes for milliseconds only waits for.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OPENBLAS_NUM_THREADS=1 $(PY) -m pytest
FAST := -m "not docker and not real and not runtimes and not debians and not heavy and not slow" \
	$(WORKERS) --dist worksteal --hypothesis-profile=quick
# A file of tests is one worker's, so that what its tests share is made once.
SHARED := $(WORKERS) --dist loadfile --no-loadscope-reorder
# pip's folder of wheels for uv too: PyTorch's CPU build is in no index of PyPI's.
LOCK := UV_FIND_LINKS="$$PIP_FIND_LINKS" $(UV) pip compile --quiet --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11
COMPILE := $(LOCK) --universal
IMAGE_COMPILE := $(LOCK) --python-platform x86_64-manylinux_2_36

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## make .venv with the `kit` command, from the hash lock

.venv/.installed: requirements-dev.lock pyproject.toml scripts/install.sh
	@sh scripts/install.sh

engine: install ## find a container engine; install and start Debian's where none answers
	@sh scripts/engine.sh

tools: ## Debian packages that the tests use
	@sh scripts/tools.sh

images: engine ## build the images and fetch the model that demo and tests use
	@.venv/bin/kit images build loopback
	@.venv/bin/kit images build llama-server
	@.venv/bin/kit weights add specs/quickstart.json

demo: engine ## run a real model, verify, replay and report
	@sh scripts/demo.sh

check: install ## style, types, and who may import whom
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: install ## let ruff format the code
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

schemas: install ## name in kit/schemas/ what the registries name: scopes, metrics, phases, notices
	$(PY) scripts/schemas.py

test-fast: install ## the first case of each test without containers; `make coverage` counts its lines
	$(PYTEST) $(FAST)

coverage: install ## the same tests, each line counted: twice the time; fails below 80 % of kit's lines
	$(PYTEST) $(FAST) --cov=kit --cov-report= --cov-fail-under=80

test: install engine tools images ## every test that needs no GPU, real containers included
	$(PYTEST) -m "not runtimes and not debians and not heavy" $(SHARED)

test-heavy: install engine tools images ## sweeps over many inputs, faults of whole runs, kit installed elsewhere
	$(PYTEST) -m "heavy and not runtimes and not debians" $(SHARED)

test-runtimes: install engine images ## every runtime with a real model, from run to replay; RUNTIME=vllm takes one, RESUME=1 goes on
	KIT_TESTS_RESUME=$(RESUME) $(PYTEST) -m runtimes $(if $(RUNTIME),tests/runtimes -k "$(RUNTIME)")

test-images: install engine tools images ## images alike on Debian 12 and 13; Docker and Podman of newer Debians (minutes)
	$(PYTEST) -m debians

explore: install ## property tests, each on many new examples (minutes)
	$(PYTEST) -m hypothesis --hypothesis-profile=explore --timeout 1800

fuzz: install ## 200,000 changed runs through every command that reads one (hours)
	$(PY) -m tests.fuzz

pictures: install tools ## pictures/: every screen and report page, to be looked at (minutes)
	$(PY) scripts/pictures.py pictures

bench: install engine images ## the measured figures of benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

$(UV): | install
	@$(PY) -m venv .cache/uv && .cache/uv/bin/pip install -qq uv

lock: $(UV) ## resolve every requirement file anew
	$(COMPILE) --output-file requirements-core.lock pyproject.toml
	$(COMPILE) --output-file requirements.lock --extra all pyproject.toml
	$(COMPILE) --output-file requirements-dev.lock --extra dev pyproject.toml
	$(IMAGE_COMPILE) --output-file images/llama-server/requirements.lock images/llama-server/requirements.in
	$(IMAGE_COMPILE) --output-file images/transformers/requirements.lock images/transformers/requirements.in
	$(IMAGE_COMPILE) --output-file images/mistralrs/requirements.lock images/mistralrs/requirements.in
	$(IMAGE_COMPILE) --override images/openvino-genai/overrides.in --output-file images/openvino-genai/requirements.lock images/openvino-genai/requirements.in
	$(IMAGE_COMPILE) --override images/onnxruntime-genai/overrides.in --output-file images/onnxruntime-genai/requirements.lock images/onnxruntime-genai/requirements.in
	$(IMAGE_COMPILE) --override images/ctranslate2/overrides.in --output-file images/ctranslate2/requirements.lock images/ctranslate2/requirements.in
	$(IMAGE_COMPILE) --output-file images/llama-cpp-python/requirements.lock images/llama-cpp-python/requirements.in
	$(IMAGE_COMPILE) --output-file images/llama-cpp-python/build.lock images/llama-cpp-python/build.in
	$(PY) scripts/sbom.py
	@echo "now: kit images lock NAME, for each image whose requirements changed"

docs: install ## the documents as a site, in site/; it needs no network, to build or to read
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict

derived: install ## write what follows from other files: man page, completions, docs/commands.md, SBOM
	$(PY) scripts/manual.py
	$(PY) scripts/sbom.py

dist: install ## the wheel and the sdist; the same bytes from the same commit
	$(PY) -m build --no-isolation --outdir dist .

clean: ## remove the environment and what tools cached (kit's own cache and runs stay)
	rm -rf .venv dist build site .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
