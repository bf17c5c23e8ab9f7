# Needed beforehand: Python 3.11 to 3.13 as python3, and make. Terraform is fetched if it is not there.
.DELETE_ON_ERROR:
.PHONY: tests-quick tests-slow tests-all help setup demo test test-slow test-all functions terraform check verify-lock accept alterations format plan deploy bench prove-iam soak years docs pictures lock clean

PYTHON_VERSION ?= 3.13
ENVIRONMENTS = $(filter-out exceptions,$(basename $(notdir $(wildcard environments/*.toml))))
BIN := .venv/bin
PYTHON := $(BIN)/python
PIPENV := VIRTUAL_ENV=$(CURDIR)/.venv PIPENV_VERBOSITY=-1 $(BIN)/pipenv
PIPENV_VERSION := 2026.10.3
# Processes of pytest-xdist: one more than two cores, as tests wait for the embedded AWS. tests/scheduling.py says which test
# runs in which.
WORKERS ?= 3
PYTEST := $(PYTHON) -m pytest -n $(WORKERS)
STARTED := $(shell date +%s)
# Without [[source]], pipenv hashes the indexes of the user's pip configuration into the lock. Here it sees none.
NO_PIP_CONFIGURATION := env -i PATH="$(PATH)" HOME="$(HOME)" PIP_CONFIG_FILE=/dev/null VIRTUAL_ENV="$(CURDIR)/.venv" PIPENV_VERBOSITY=-1
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: .venv/ready $(BIN)/rollbook ## Install everything into the project's folder

# The project is not a package, so this script takes the place of an entry point. It keeps the caller's folder.
$(BIN)/rollbook: Makefile .venv/ready
	printf '%s\n' '#!$(CURDIR)/.venv/bin/python' 'import pathlib, sys' \
	  'sys.path[0] = str(pathlib.Path(__file__).absolute().parents[2])' \
	  'from ops.__main__ import main' 'main()' > $@
	chmod +x $@

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

test: check tests-quick ## Lint, types and every test that is not slow: what to run before a commit
	@echo "make test: $$(( $$(date +%s) - $(STARTED) )) s"

test-slow: tests-slow ## The slow tests alone: what make test left out
	@echo "make test-slow: $$(( $$(date +%s) - $(STARTED) )) s"

test-all: check tests-all ## Lint, types and every test
	@echo "make test-all: $$(( $$(date +%s) - $(STARTED) )) s"

tests-quick: SELECTION := -m "not slow"
tests-slow: SELECTION := -m slow
tests-quick tests-slow tests-all: terraform node_modules/ready
	$(PYTEST) $(SELECTION)

functions: setup ## Test the functions as on Lambda: make functions PYTHON_VERSION=3.13
	$(PYTHON) -m tests.runtimes $(PYTHON_VERSION)
	$(PYTHON) -m tests.runtimes $(PYTHON_VERSION) --quick --oldest-boto3

terraform: setup ## Find Terraform and its provider, or fetch them
	@$(PYTHON) -m ops terraform

check: setup terraform ## Lint, format, types, policy, and that the generated docs are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory verify-lock
	$(PYTHON) -m docs.generate --check
	$(PYTHON) -m tests.checks

verify-lock: setup ## Check that Pipfile.lock belongs to the Pipfile
	$(NO_PIP_CONFIGURATION) $(BIN)/pipenv verify

accept: setup ## Accept what the synth writes now as reviewed: tests/synth/golden/
	$(PYTHON) -m tests.synth.reviewed

alterations: setup ## Alter the synthesized JSON and list what no value check notices: make alterations SEEDS="1 2"
	$(PYTHON) -m tests.synth.alterations $(SEEDS)

format: setup ## Bring the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

plan: needs-environment setup node_modules/ready ## Plan one environment: make plan ENV=workshop
	@$(PYTHON) -m ops cdktf diff $(ENV)

deploy: needs-environment setup node_modules/ready ## Deploy one environment: make deploy ENV=workshop
	@$(PYTHON) -m ops cdktf deploy $(ENV)

# No environment is the default here, because both reach a real account.
needs-environment:
	@test -n "$(ENV)" || { echo "Name the environment:"; \
	  printf '  make $(firstword $(MAKECMDGOALS)) ENV=%s\n' $(ENVIRONMENTS); exit 1; }

bench: setup ## Measure, and write docs/benchmarks.md
	$(PYTHON) -m bench

prove-iam: setup terraform ## Show that every action of every role is needed, by taking it away
	$(PYTHON) -m tests.local.prove_iam

soak: setup ## Live random histories of a school with faults: make soak SECONDS=60, or one again with SEED=17
	$(PYTHON) -m tests.soak --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

years: setup ## Live 400 days with each way of making backups
	$(PYTHON) -m tests.soak.years $(if $(LIFE),--life "$(LIFE)")

docs: setup ## Write the generated pages of docs/
	$(PYTHON) -m docs.generate

pictures: terraform node_modules/ready ## Take the pictures of the README: docs/pictures/
	$(PYTHON) -m docs.pictures

lock: setup ## Lock the dependencies again, without the address of any index
	$(PIPENV) lock
	$(NO_PIP_CONFIGURATION) $(PYTHON) -m tests.checks.lock

clean: ## Remove all that was built or installed here
	rm -rf .venv node_modules .cache .local cdktf.out terraform.local.tfstate*
