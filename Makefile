# Both targets do all their own set-up: a virtual environment, pinned dependencies, the package itself.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check docs slow clean

demo: $(INSTALLED)
	$(BIN)/textgym train --task story --model story-small --out runs/demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# Style, types and the arrows between the rooms. The last two run on the *built* tree, since neither tool sees
# through the package mapping of an editable install.
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/tree
	$(BIN)/python -m pip install -q --no-deps --no-compile --target build/tree .
	cd build/tree && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml -p textgym
	cd build/tree && ../../$(BIN)/lint-imports --config ../../pyproject.toml

# The pages that are made from the code.
docs: $(INSTALLED)
	$(BIN)/textgym list scorers --markdown > docs/.scorers.md
	mv docs/.scorers.md docs/scorers.md

slow: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e ".[all]" -c constraints.txt
	touch $@

clean:
	rm -rf $(VENV) build
