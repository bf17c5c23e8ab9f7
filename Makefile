# Needed beforehand: Python 3.11 to 3.13 as python3, and make. Terraform is fetched if it is not there.
.DELETE_ON_ERROR:
.PHONY: help setup demo test functions terraform check format plan deploy bench prove-iam docs lock clean

ENV ?= workshop
PYTHON_VERSION ?= 3.13
BIN := .venv/bin
PYTHON := $(BIN)/python
PIPENV := VIRTUAL_ENV=$(CURDIR)/.venv PIPENV_VERBOSITY=-1 $(BIN)/pipenv
PIPENV_VERSION := 2026.10.3
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: .venv/ready ## Install everything into the project's folder

.venv/ready: Pipfile.lock
	@python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Rollbook needs Python 3.11, 3.12 or 3.13 as python3."; exit 1; }
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check pipenv==$(PIPENV_VERSION)
	$(PIPENV) sync --quiet --categories "packages dev-packages"
	touch $@

node_modules/ready: package-lock.json .venv/ready
	npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	touch $@

demo: terraform ## Everything once, on an embedded AWS; stays up until Ctrl-C, with ONCE=1 it ends by itself
	@$(PYTHON) -m ops demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: terraform check node_modules/ready ## Lint, types and all tests, on a machine that needs nothing installed before
	$(PYTHON) -m pytest

functions: setup ## Test the functions as on Lambda: make functions PYTHON_VERSION=3.13
	$(PYTHON) -m tests.runtimes $(PYTHON_VERSION)
	$(PYTHON) -m tests.runtimes $(PYTHON_VERSION) --quick --oldest-boto3

terraform: setup ## Find Terraform and its provider, or fetch them
	@$(PYTHON) -m ops terraform

check: setup terraform ## Lint, format, types, policy, and that the generated docs are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PIPENV) verify
	$(PYTHON) -m docs.generate --check
	$(PYTHON) -m tests.checks

format: setup ## Bring the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

plan: setup node_modules/ready ## Plan one environment: make plan ENV=workshop
	@$(PYTHON) -m ops cdktf diff $(ENV)

deploy: setup node_modules/ready ## Deploy one environment: make deploy ENV=workshop
	@$(PYTHON) -m ops cdktf deploy $(ENV)

bench: setup ## Measure, and write docs/benchmarks.md
	$(PYTHON) -m bench

prove-iam: setup terraform ## Show that every action of every role is needed, by taking it away
	$(PYTHON) -m tests.local.prove_iam

docs: setup ## Write the generated pages of docs/
	$(PYTHON) -m docs.generate

lock: setup ## Lock the dependencies anew, without any index's address
	$(PIPENV) lock
	$(PYTHON) -c 'import json, pathlib; p = pathlib.Path("Pipfile.lock"); d = json.loads(p.read_text()); d["_meta"]["sources"] = []; p.write_text(json.dumps(d, indent=4, sort_keys=True) + "\n")'

clean: ## Remove all that was built or installed here
	rm -rf .venv node_modules .cache .local cdktf.out terraform.local.tfstate*
