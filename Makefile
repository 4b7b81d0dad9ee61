# Two commands do everything on a fresh machine with Python 3.11+: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
# A worker for each core (four at most), each with one thread: torch's own threads would only fight over the cores.
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile
PORT ?= 8501

.PHONY: run test test-slow lint clean browser label-studio wheel

run: $(VENV)/.installed
	@echo "Pairwright: http://127.0.0.1:$(PORT)"
	@$(VENV)/bin/streamlit run app.py --server.port $(PORT)

test: $(VENV)/.installed-test browser
	$(PYTEST) -m "not slow"

# Long draws, fits and real pools: minutes each.
test-slow: $(VENV)/.installed-test browser
	$(PYTEST) -m slow --durations=25

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# The wheel, built, installed in a bare environment elsewhere, and used there.
wheel: $(VENV)/.installed
	$(VENV)/bin/python tests/installed.py

# torch goes first and alone, so that nothing pulls another build of it.
$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet $$(grep '^torch==' requirements.txt)
	$(VENV)/bin/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt
	$(VENV)/bin/python -m pip install --quiet -r requirements-test.txt
	touch $@

# The tests use a Chromium and a PostgreSQL that are there; without, they are installed (Debian), else skipped by name.
browser: $(VENV)/.installed-test
	@$(VENV)/bin/python tests/desk/browser.py --install
	@$(VENV)/bin/python tests/desk/postgres.py --install

# A real Label Studio in an environment of its own, for the round trip of tests/exchange/test_label_studio_server.py.
STUDIO := .venv-label-studio
label-studio: $(STUDIO)/.installed

$(STUDIO)/.installed:
	$(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet label-studio==1.23.0
	touch $@

clean:
	rm -rf $(VENV) $(STUDIO) .pytest_cache .mypy_cache .ruff_cache

# A small real language model (SmolLM2-135M-Instruct, Apache-2.0) as a folder outside the checkout: 93 MB are fetched,
# 540 MB written. `make model MODEL=FOLDER` puts it elsewhere; a folder that is there is left as it is.
MODEL ?= $(if $(CURATION_HOME),$(CURATION_HOME)/models,$(HOME)/.cache/pairwright)/smollm2
.PHONY: model
model: $(VENV)/.installed
	@test -f "$(MODEL)/config.json" || $(VENV)/bin/python -m curation model smollm2 --out "$(MODEL)"
	@echo "use it: $(VENV)/bin/python -m curation features POOL --model $(MODEL) --out FEATURES"

# The bundled demo's features and reference log-probabilities, by that model (minutes); the file names it `smollm2`.
.PHONY: demo
demo: model
	cd "$(dir $(MODEL))" && PYTHONPATH="$(CURDIR)" "$(CURDIR)/$(VENV)/bin/python" -m curation features \
		"$(CURDIR)/data/demo.jsonl.gz" --out "$(CURDIR)/data/demo.features.parquet" --model "$(notdir $(MODEL))" --force
