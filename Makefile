# Everything runs in .venv, which each target makes, completes or repairs as needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs install install-test install-docs ui clean

demo: install
	$(BIN)/simo-cl run benchmarks/quickstart.yaml
	@echo "Open report: results/quickstart/report.html"
	@echo "Open MLflow: make ui   (or: $(BIN)/simo-cl ui results/quickstart)"

test: install-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install-docs
	$(BIN)/python docs/make_reference.py

ui: install
	$(BIN)/simo-cl ui results/quickstart

# Each stamp is written last. Without it, or without a Python that runs, an installation was cut
# short or broken and is made anew; with one that is older than pyproject.toml it is brought up to
# date.
ifneq ($(shell $(BIN)/python -m pip --version >/dev/null 2>&1 && echo works),works)
$(shell rm -f $(VENV)/.installed $(VENV)/.installed-test $(VENV)/.installed-docs)
endif

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-docs: $(VENV)/.installed-docs

$(VENV)/.installed: pyproject.toml
	@echo "Installing into $(VENV): minutes, and with PyTorch's libraries for GPUs about 6 GB"
	@test -f $@ || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
