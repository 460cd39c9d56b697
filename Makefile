SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up test down install sandbox deploy check cost smoke-test outputs lint molecule bench docs journal policies \
	status logs scale restart rollback run exec diagnose verify image

ENV ?= dev
PYTHON_IN_VENV := .venv/bin/python
# Everything runs against the sandbox that `make sandbox` started; without this line it would be AWS.
IN_SANDBOX := eval "$$($(PYTHON_IN_VENV) -m sandbox env)" &&

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: install sandbox deploy smoke-test ## Install, start the sandbox, deploy ENV=dev to it and prove it
	@echo
	@echo "Deployed and proven. Next:"
	@echo '  eval "$$(.venv/bin/python -m sandbox env)"          this shell talks to the sandbox'
	@echo '  ansible-playbook site.yml -i inventories/$(ENV) --check --diff'
	@echo '  ansible-playbook playbooks/outputs.yml -i inventories/$(ENV)'
	@echo '  aws logs tail /ecs/nexus-learn/celery-worker --follow'
	@echo '  make down                                          stops everything'

test: install ## All tests: linters, pytest, molecule
	@scripts/test.sh

down: ## Stop the sandbox and everything in it
	@if [ -x $(PYTHON_IN_VENV) ]; then $(PYTHON_IN_VENV) -m sandbox down; else echo "Nothing is installed, so nothing runs."; fi

install: ## Make .venv and install what is locked
	@scripts/setup.sh

sandbox: install ## Start the sandbox
	@$(PYTHON_IN_VENV) -m sandbox up

deploy: sandbox ## Deploy ENV to the sandbox, or with TAG=1.4.0 that version of the application
	@$(IN_SANDBOX) ansible-playbook $(if $(TAG),playbooks/deploy.yml -e image_tag=$(TAG),site.yml) -i inventories/$(ENV) $(ARGS)

check: sandbox ## Show what deploy would change
	@$(IN_SANDBOX) ansible-playbook site.yml -i inventories/$(ENV) --check --diff $(ARGS)

verify: sandbox ## Whether the next deploy finds what it needs: image, roles, secrets, network, quotas, Redis
	@$(IN_SANDBOX) ansible-playbook playbooks/verify.yml -i inventories/$(ENV) $(ARGS)

cost: sandbox ## What ENV costs by the month, line by line
	@$(IN_SANDBOX) ansible-playbook playbooks/cost.yml -i inventories/$(ENV) $(ARGS)

smoke-test: ## Ask the deployed API a question and wait for the answer
	@$(IN_SANDBOX) ansible-playbook playbooks/smoke_test.yml -i inventories/$(ENV) $(ARGS)

outputs: ## Show the outputs of the deployed stack
	@$(IN_SANDBOX) ansible-playbook playbooks/outputs.yml -i inventories/$(ENV) $(ARGS)

diagnose: ## Find out what is wrong with the deployed stack, and what mends it
	@$(IN_SANDBOX) ansible-playbook playbooks/diagnose.yml -i inventories/$(ENV) $(ARGS)

journal: ## Show the last changes of the stack: who, when, what; ARGS="-e run=<id>" for all of one
	@$(IN_SANDBOX) ansible-playbook playbooks/journal.yml -i inventories/$(ENV) $(ARGS)

status: sandbox ## How the services are: tasks, deployments, queues
	@$(IN_SANDBOX) ansible-playbook playbooks/status.yml -i inventories/$(ENV) $(ARGS)

logs: sandbox ## The last log lines of the services
	@$(IN_SANDBOX) ansible-playbook playbooks/logs.yml -i inventories/$(ENV) $(ARGS)

scale: sandbox ## Set how many tasks run: ARGS="-e service=celery-worker -e count=5"
	@$(IN_SANDBOX) ansible-playbook playbooks/scale.yml -i inventories/$(ENV) $(ARGS)

image: sandbox ## Build worker/ and push it, with docker, podman or buildah: ARGS="-e image_builder=podman"
	@$(IN_SANDBOX) ansible-playbook playbooks/image.yml -i inventories/$(ENV) $(ARGS)

restart: sandbox ## New tasks of the same version, of one service or all
	@$(IN_SANDBOX) ansible-playbook playbooks/restart.yml -i inventories/$(ENV) $(ARGS)

rollback: sandbox ## Back to the version before: ARGS="-e service=celery-worker"
	@$(IN_SANDBOX) ansible-playbook playbooks/rollback.yml -i inventories/$(ENV) $(ARGS)

run: sandbox ## Run a command in a task of its own: ARGS="-e '{\"command\": [...]}'"
	@$(IN_SANDBOX) ansible-playbook playbooks/run.yml -i inventories/$(ENV) $(ARGS)

exec: sandbox ## Show how to open a session in a task: ARGS="-e service=backend -e command=sh"
	@$(IN_SANDBOX) ansible-playbook playbooks/exec.yml -i inventories/$(ENV) $(ARGS)

lint: install ## ruff, mypy, yamllint, ansible-lint, generated documentation
	@scripts/lint.sh

molecule: install ## Every molecule scenario
	@.venv/bin/molecule test --all

bench: install ## Benchmarks, as ratios
	@$(PYTHON_IN_VENV) -m bench

docs: install ## Write the README of each role anew from its argument specs
	@$(PYTHON_IN_VENV) scripts/role_readmes.py

policies: install ## Write the deployer's IAM policies anew from what the modules call
	@$(PYTHON_IN_VENV) scripts/deployer_policy.py
