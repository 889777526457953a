PYTHON ?= python3
TARGET ?= cpu

.PHONY: help demo test lint style types imports installed bench clean

help:
	@echo "make demo    install graphc and run the example: a two-layer network, then real digits"
	@echo "make test    install graphc and run the tests; T='-k cond' passes arguments to pytest"
	@echo "make lint    style, types and the direction of imports"
	@echo "make bench   graphc beside its peers; B='--quick' passes arguments: see bench/README.md;"
	@echo "             TARGET=cuda on a GPU"
	@echo "make clean   remove virtual environments and caches"

demo: .venv-examples/ready
	.venv-examples/bin/python examples/two_layer.py

test: .venv-test/ready
	.venv-test/bin/pytest -n 2 $(T)

bench: .venv-bench/ready
ifeq ($(TARGET),cuda)
	.venv-bench/bin/python -m pip install --quiet --editable ".[cuda]"
endif
	.venv-bench/bin/python -m bench --target $(TARGET) $(B)

lint: style types imports

style: .venv-lint/ready
	.venv-lint/bin/ruff check .

# mypy and import-linter look at the package as it is installed, where passes/ and runtime/ are in
# graphc/.  They run inside the environment's folder, because ./graphc would hide the installed one.
types: installed
	cd .venv-lint && bin/mypy --config-file ../pyproject.toml --package graphc

imports: installed
	cd .venv-lint && bin/lint-imports --config ../pyproject.toml --no-cache

installed: .venv-lint/ready
	rm -rf build
	.venv-lint/bin/python -m pip install --quiet --no-deps --force-reinstall .

# One environment per extra of setup.cfg; made again when the metadata changes.
.venv-%/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --editable ".[$*]"
	touch $@

.PRECIOUS: .venv-%/ready

clean:
	rm -rf .venv-* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
