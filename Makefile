# make demo   install, then generate a kernel for a transformer block's hot part and write demo-report/
# make test   install, then run the tests
# make bench  install, then run every benchmark and write benchmarks/results/
# make lint   install, then check style and types
# PYTHON=python3.12 picks the interpreter; the environment is .venv and is made anew when its inputs change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install demo test bench lint clean

install: $(STAMP)

# torch comes first and alone, pinned, so that nothing else's requirements can choose another build of it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "kernelwright needs Python 3.11 or newer: run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "This Python cannot make virtual environments: install its venv package (Debian: python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[dev,toolchain,triton,llm,rl,zoo]'
	@touch $@

demo: $(STAMP)
	$(BIN)/kernelwright generate examples/transformer_mlp.py --budget 90 --out demo-report

test: $(STAMP)
	$(BIN)/python -m pytest $(TESTFLAGS)

bench: $(STAMP)
	$(BIN)/python benchmarks/suite.py
	$(BIN)/python benchmarks/contraction.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/tables.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo-report
