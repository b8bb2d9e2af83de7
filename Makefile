# make score: install and score the example events; make test: run the tests.
# VENV is the environment to make; PACKAGE is what to install in it; a wheel works too.
# A CPU build of torch is enough: point pip at one to save the download of the CUDA build.
VENV ?= .venv
PYTHON ?= python3
PACKAGE ?= --editable .
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --constraint constraints.txt
WORKERS ?= 2
# The model of the measurements; the thresholds are half of subtree's own and below.
MODEL ?= subtree
EXTRAS = pipeline,geant4,train,plot,onnx,hepmc,dask

.PHONY: score test lint measure measure-geant4 fuzz clean

score: $(VENV)/core
	$(BIN)/smartfilter score examples/events.root --skim feiHadronicB0

test: $(VENV)/tools
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

lint: $(VENV)/tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

measure: $(VENV)/tools
	$(BIN)/smartfilter measure --model $(MODEL) --workers $(WORKERS) --output output/measure --force

measure-geant4: $(VENV)/tools
	$(BIN)/smartfilter measure --model $(MODEL) --detector geant4 --workers $(WORKERS) -n 16000 \
	  --threshold 0.195 --threshold 0.156 --threshold 0.117 --threshold 0.078 \
	  --threshold 0.039 --output output/measure-geant4 --force

fuzz: $(VENV)/tools
	mkdir -p output
	$(BIN)/python benchmarks/fuzz.py --minutes $(or $(MINUTES),30) \
	  -o output/fuzz.json --keep output/fuzz

# numba does not notice edits in files that a kernel calls: clean after editing one.
clean:
	rm -rf $(VENV) dist
	find smartfilter -name '*.nb[ci]' -delete

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) $(PACKAGE)
	touch $@

$(VENV)/tools: $(VENV)/core
	$(PIP) "smartfilter[$(EXTRAS)]" --group test --group lint
	touch $@
