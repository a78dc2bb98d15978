# Everything from a clean clone: git, make and Python 3.11 or newer are all it takes.
#
#   make demo         the main job on a simulated section, in napari; results in demo-output/
#   make test         the tests                         make test-slow    those that take long, too
#   make lint         ruff and mypy                     make bench        speed beside peers
#   make screenshots  the pictures of the README        make clean        remove what was made

SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMPS := $(VENV)/.installed
INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Where there is no display, windows open on a virtual one.
ifeq ($(shell uname -s)$(DISPLAY)$(WAYLAND_DISPLAY),Linux)
WINDOWLESS := yes
SCREEN := xvfb-run --auto-servernum --server-args "-screen 0 1600x1000x24 +extension GLX"
endif

.PHONY: demo test test-slow lint bench screenshots constraints clean window
.DELETE_ON_ERROR:

demo: $(STAMPS)/test window
	$(SCREEN) $(VENV)/bin/napari-st2msi demo --out demo-output $(if $(WINDOWLESS),--no-window)

test: $(STAMPS)/test window
	$(SCREEN) $(PYTHON) -m pytest $(ARGS)

test-slow: $(STAMPS)/test window
	$(SCREEN) $(PYTHON) -m pytest -m "slow or not slow" $(ARGS)

lint: $(STAMPS)/dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# make bench BENCHMARKS=benchmarks/pairing.py runs one of them.
BENCHMARKS := $(sort $(wildcard benchmarks/[a-z]*.py))
bench: $(STAMPS)/test window
	failed=""; for each in $(BENCHMARKS); do \
	  $(SCREEN) $(PYTHON) $$each || failed="$$failed $$each"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

screenshots: $(STAMPS)/test window
	$(SCREEN) $(PYTHON) scripts/screenshots.py docs/images
	$(PYTHON) scripts/bladder_overlay.py docs/images

# Pins anew, after a change of the dependencies: what a fresh install of everything resolves to.
constraints:
	rm -rf build/constraints
	$$(sh scripts/find-python.sh) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --editable ".[all,test,dev]"
	build/constraints/bin/python -m pip install --quiet --no-deps timm  # pinned, but not what it brings
	{ echo "# What CI installs: every direct and indirect requirement, pinned. Made by 'make constraints'."; \
	  build/constraints/bin/python -m pip freeze --exclude-editable; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf build/constraints

$(PYTHON):
	python=$$(sh scripts/find-python.sh) && $$python -m venv $(VENV)

# One install for each set of extras, again only when the requirements change.
$(STAMPS)/test: EXTRAS := all,test
$(STAMPS)/dev: EXTRAS := all,test,dev
$(STAMPS)/%: pyproject.toml constraints.txt | $(PYTHON)
	@echo "Installing napari-st2msi[$(EXTRAS)] into $(VENV) (some minutes the first time)"
	$(INSTALL) --editable ".[$(EXTRAS)]"
	@mkdir -p $(STAMPS) && touch $@

# What the system must bring for Qt; looked at each time, for it is quick and machines change.
window: $(STAMPS)/test
	@sh scripts/system-libraries.sh $(PYTHON)

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
