# Everything works on a fresh clone with nothing but Python and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= runs/demo
export OMP_NUM_THREADS ?= 1

BROWSER := tests/page_browser/node_modules/.package-lock.json

.PHONY: demo test test-all check judge bench docs clean

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.installed  ## a simulated hospital, a trained model, a report
	$(BIN)/stethos pocket-k demo --out $(OUT)

# node comes with the venv; without the npm registry the tests in a browser say that they were skipped
$(BROWSER): tests/page_browser/package-lock.json $(VENV)/.installed
	-PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix tests/page_browser --ignore-scripts --no-audit --no-fund --loglevel=error

test: $(VENV)/.installed $(BROWSER)  ## the suite without the slow sweeps
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.installed $(BROWSER)  ## with the slow sweeps
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed  ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py

judge: OUT = runs/heart
judge: $(VENV)/.installed  ## hearts of a demo before a network that nobody here trained
	$(BIN)/pip install --quiet -c constraints.txt -e ".[edge]"
	$(BIN)/pip install --quiet --no-deps -c constraints.txt myopari
	test -f $(OUT)/model.safetensors || $(BIN)/stethos ecgflow-cmr demo --out $(OUT)
	STETHOS_RUN=$(OUT) $(BIN)/python -m pytest -m slow tests/test_judge.py

bench: $(VENV)/.installed  ## ratios, written to benchmarks/results.json
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed  ## the documentation, in docs/_build
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

clean:  ## everything that was made
	rm -rf $(VENV) tests/page_browser/node_modules build dist docs/_build docs/api .pytest_cache .mypy_cache .ruff_cache .hypothesis
