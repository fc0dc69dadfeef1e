# How the student that ships with the package was made and measured; the Makefile of the checkout includes this. See research/README.md.
RESEARCH_STAMP := $(VENV)/.aura-research

.PHONY: corpus student baselines measure results research-test

$(RESEARCH_STAMP): $(STAMP) research/pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --editable './research[test]'
	@touch $@

corpus: real-models $(RESEARCH_STAMP)  ## what the packaged student is taught with, in outputs/corpus (also needs Debian's flite)
	$(BIN)/python -m pip install --quiet --editable . --editable './research[corpus]'
	OMP_NUM_THREADS=1 $(BIN)/python -m aura_research.acted_speech
	OMP_NUM_THREADS=1 $(BIN)/python -m aura_research.corpus outputs/corpus

student: corpus  ## the packaged student, all stages, in outputs/ (most of a day; goes on where it was)
	$(BIN)/python -m aura_research.train outputs

baselines: corpus  ## the bridge and the DiVA-like baseline of docs/results.md, in outputs/ (an hour on 2 cores; goes on where it was)
	$(BIN)/python -m aura_research.baselines outputs

measure: real-models $(RESEARCH_STAMP)  ## the packaged student beside what it competes with, in outputs/measure (an hour; also needs Debian's pocketsphinx-testdata)
	$(BIN)/python -m aura_research.measure hub_cards/aura-smollm2-135m --dtype bfloat16 --out outputs/measure

results: measure  ## docs/results.md from that; with the baselines, where `make baselines` has trained them
	$(BIN)/python -m aura_research.measure.publish outputs/measure docs/results.md

research-test: real-models $(RESEARCH_STAMP)  ## all tests of research/, those on real weights too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile research/tests
