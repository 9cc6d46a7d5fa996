# make demo: set up and run the whole job on real data.   make test: set up and run the test suite.
# PyTorch is held to a CPU build that needs no GPU driver; for a GPU: make TORCH= demo (or another version).
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test test-slow docs lint clean

$(VENV)/.installed: pyproject.toml setup.py trl_srl/_matching.c
	@echo "Installing into $(VENV): some minutes, in which pip says nothing."
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(BIN)/python -m pip install --quiet "$(TORCH)")
	$(BIN)/python -m pip install --quiet --editable ".[dev,demo]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/trl-srl demo $(DEMO)

test: $(VENV)/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not slow" $(PYTEST)

test-slow: $(VENV)/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow $(PYTEST)

docs: $(VENV)/.installed
	HF_HUB_OFFLINE=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs dist build trl_srl/*.so .pytest_cache .mypy_cache .ruff_cache
