PYTHON ?= python3
PY := .venv/bin/python
# Both come before anything imports torch, so that a run's own number of threads is the one that counts.
export PYTHONUTF8 = 1

.PHONY: demo test test-long test-fast test-oldest test-bench test-adapters test-tex check bench bench-gpu gpu-check clean

# Ready once all packages of setup.cfg are installed in the versions of constraints.txt.
.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dashboard,dev]'
	touch $@

demo: .venv/ready
	$(PY) -m launch submit sweep=demo cluster=local
	$(PY) -m analysis tables runs/demo
	$(PY) -m analysis report runs/demo -o runs/demo/report.html

# Everything but the soaks and the tiers below. A test trains with one thread; one process more than two cores need,
# because the tests with SLURM and with a browser mostly wait.
test: .venv/ready
	$(PY) -m pytest -n 3 --dist loadgroup -m "not long and not slurm and not soak and not adapters and not tex and not bench"

# What needs a real SLURM cluster, and every other test that takes more than about ten seconds of CPU time.
test-long: .venv/ready
	$(PY) -m pytest -n 3 --dist loadgroup -m "(long or slurm) and not soak"

# What needs neither processes nor training (config, schedules, plan, lint, tables, ...): a minute and a half on two free cores.
test-fast: .venv/ready
	$(PY) -m pytest -n 2 -m "not slow and not slurm and not soak and not adapters and not tex"

# Like test and test-long together, with the oldest versions that setup.cfg allows, torch 2.6 among them, in an environment of their own.
test-oldest: .venv-oldest/ready
	.venv-oldest/bin/python -m pytest -n 3 --dist loadgroup -m "not soak and not adapters and not tex and not bench"

.venv-oldest/ready: setup.cfg
	$(PYTHON) -m venv .venv-oldest
	sed -n '/^install_requires/,/^$$/s/^ *\(.*\)>=/\1==/p; /^dashboard/,/^adapters/s/^ *\(.*\)>=/\1==/p' setup.cfg > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/constraints.txt -e '.[dashboard,dev]'
	touch $@

# Whole benchmarks, at their smallest; make test keeps the cheap ones and the arithmetic of all.
test-bench: .venv/ready
	$(PY) -m pytest -m bench

# With the real Lightning, Transformers, timm and datasets, in an environment of their own.
test-adapters: .venv-adapters/ready
	.venv-adapters/bin/python -m pytest -m adapters tests/adapters

.venv-adapters/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv-adapters
	.venv-adapters/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,adapters,timm,datasets]'
	touch $@

# With a real pdflatex: Debian's texlive-latex-extra, or another TeX with booktabs, longtable and threeparttable.
test-tex: .venv/ready
	$(PY) -m pytest -m tex

check: .venv/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: .venv/ready
	$(PY) -m benchmarks

# On one GPU, within eight minutes; what is measured so far is kept after every case.
bench-gpu: .venv/ready
	$(PY) -m benchmarks gpu_speed --wait 10 -o runs/bench_gpu.json

# On one GPU, within three minutes: graphs against eager, resuming, memory, growth, a sweep with its forecast.
gpu-check: .venv/ready
	$(PY) -m benchmarks.gpu_check

clean:
	rm -rf .venv .venv-oldest .venv-adapters build *.egg-info .pytest_cache .mypy_cache .ruff_cache
