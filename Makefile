# make demo | train | test | coverage | test-slow | test-pydicom3 | test-label | lint | clean. Everything runs in .venv, which is
# made from setup.cfg and constraints.txt the first time and again when one of them changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_INSTALLED := $(VENV)/.installed-test
DOCS_INSTALLED := $(VENV)/.installed-docs
LABEL_VENV := .venv-label
LABEL_INSTALLED := $(LABEL_VENV)/.installed
# The environment that the wheel alone is installed in.
WHEEL_VENV := .venv-wheel
DIST_INSTALLED := $(VENV)/.installed-dist
LABEL_TEST_INSTALLED := $(LABEL_VENV)/.installed-test
# The second version of pydicom that the readers are tested with; the environment has the one that MONAI Label takes.
PYDICOM3 := 3.0.2
PYDICOM3_FOLDER := .pydicom3
TRAIN_CONFIG ?= bundles/dgm/configs/train.json
# The radiographs that come with the package, and the folder of the results.
EXAMPLES := monai_dgm/data/examples
DEMO := runs/demo
READER_STUDY := runs/reader_study
# Extra arguments: `make train ARGS="--dataset_dir /data/rsna"`, `make test ARGS="tests/data -x"`.
ARGS ?=
# Of the label app, and of the reader study.
STUDIES ?=
STUDY ?= $(READER_STUDY)/study
PORT ?= 8000
# Worker processes of pytest; each takes one torch thread (tests/conftest.py).
WORKERS ?= 2
LABEL_WORKERS ?= 0

# uv takes two fifths of pip's processor time (docs/performance.md). INSTALLER=pip does without, and so does a machine that gets no
# uv. It does not read pip's settings: those of the environment are handed on.
INSTALLER ?= uv
comma := ,
space := $(subst ,, )
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_EXTRA_INDEX_URL
export UV_INDEX ?= $(PIP_EXTRA_INDEX_URL)
# the newest version of all indexes, as pip does
export UV_INDEX_STRATEGY ?= unsafe-best-match
endif
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(PIP_FIND_LINKS))
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif

# $(call install,ENVIRONMENT,REQUIREMENTS): with the versions of constraints.txt. Constraints of variables and of uv's option reach
# isolated builds too; `pip -c` does not. Nothing is compiled to bytecode ahead: Python does it for what it imports.
PIP_INSTALL = PIP_CONSTRAINT=constraints.txt $(1)/bin/python -m pip install --quiet --no-compile
define install
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
	  { echo "expected Python 3.10 to 3.12, got $$($(PYTHON) --version); name one as in make PYTHON=python3.12" >&2; exit 1; }
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	{ test '$(INSTALLER)' = uv && $(PIP_INSTALL) uv && $(1)/bin/uv pip install --quiet --python $(1)/bin/python \
	    --constraint constraints.txt --build-constraint constraints.txt $(2); } || $(PIP_INSTALL) $(2)
endef

.DEFAULT_GOAL := help
.PHONY: help environment demo train test coverage test-slow test-pydicom3 test-wheel test-label label label-pacs ohif reader-study docs lint format clean

help:
	@echo "make demo       environment, decomposition of 24 real radiographs by the shipped weights, report; in $(DEMO)"
	@echo "make train      environment, training on the embedded sample, report"
	@echo "make test       environment, tests"
	@echo "make coverage   the same tests, and which lines they reach; fails below the share in pyproject.toml"
	@echo "make test-slow  environment, the tests marked slow or service"
	@echo "make test-pydicom3 environment, the tests of the readers with pydicom 3"
	@echo "make test-wheel environment, source distribution, wheel from it, tests of the wheel in an empty environment"
	@echo "make test-label environment with MONAI Label, the tests of its app"
	@echo "make label      the label app on STUDIES=<folder or DICOMweb address>, by default on real radiographs; PORT=8000"
	@echo "make label-pacs the label app on a new Orthanc with real radiographs, and the OHIF viewer"
	@echo "make ohif       fetch the OHIF viewer from npm for the label app"
	@echo "make reader-study the page on which readers choose between images, STUDY=<folder>; by default the demo's; PORT=8000"
	@echo "make docs       environment, the documentation site in site/, its notebooks executed and its links checked"
	@echo "make lint       environment, ruff and mypy"
	@echo "make format     environment, ruff's fixes and formatting"
	@echo "make clean      remove the environment and the tools' caches (outputs stay)"

environment: $(TEST_INSTALLED)

# What the package itself needs, and the page of the reader study.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(call install,$(VENV),--editable '.[study]')
	$(BIN)/python -m pip check
	touch $@

$(TEST_INSTALLED): $(INSTALLED)
	$(call install,$(VENV),--editable '.[test]')
	$(BIN)/python -m pip check
	touch $@

# The bundle's two commands, with the weights that ship. MONAI's warning for each configuration file is left out.
demo: $(INSTALLED)
	PYTHONWARNINGS=ignore $(BIN)/python -m monai.bundle run evaluating --config_file bundles/dgm/configs/inference.json \
	  --dataset_dir $(EXAMPLES)/images --output_dir $(DEMO)/decomposition
	PYTHONWARNINGS=ignore $(BIN)/python -m monai.bundle run evaluating \
	  --config_file "['bundles/dgm/configs/train.json','bundles/dgm/configs/evaluate.json']" --dataset_dir $(EXAMPLES) \
	  --model_path bundles/dgm/models/shipped/model.safetensors --output_dir $(DEMO)/evaluation
	@echo "Look at:"
	@echo "  $(DEMO)/decomposition/*/panel.png      each radiograph, its normal image and residue"
	@echo "  $(DEMO)/decomposition/scores.json      probability, burden and boxes of each radiograph"
	@echo "  $(DEMO)/evaluation/report/index.html   metrics on the 24 radiographs"

train: $(INSTALLED)
	$(BIN)/python -m monai.bundle run training --config_file $(TRAIN_CONFIG) $(ARGS)

test: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# The floor is `fail_under` in pyproject.toml.
coverage: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS)

# Only files that mark a test so are looked through; those of the label app are in `make test-label`.
test-slow: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "slow or service" $(ARGS) $(if $(filter tests/%,$(ARGS)),, \
	  $$(grep -rlE 'mark\.(slow|service)' tests --include='test_*.py' --exclude-dir=apps --exclude-dir=deploy)) || test $$? -eq 5 # 5: no test is marked so

# A folder before the environment's own packages: all but pydicom is shared.
test-pydicom3: $(PYDICOM3_FOLDER)/.installed
	PYTHONPATH=$(PYDICOM3_FOLDER) $(BIN)/python -c 'import pydicom; assert pydicom.__version__ == "$(PYDICOM3)"'
	PYTHONPATH=$(PYDICOM3_FOLDER) $(BIN)/python -m pytest -n $(WORKERS) tests/data tests/readers \
	  tests/labelling/dicom_objects/test_structured_report_reader.py $(ARGS)

$(PYDICOM3_FOLDER)/.installed: $(TEST_INSTALLED) Makefile
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PYDICOM3_FOLDER) pydicom==$(PYDICOM3)
	touch $@

# The wheel is built from the source distribution, and installed where nothing else is: with its requirements as the other
# environments are, and once more by pip. Its tests run outside the repository.
test-wheel: $(DIST_INSTALLED)
	rm -rf build dist $(WHEEL_VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --outdir dist .
	$(call install,$(WHEEL_VENV),dist/*.whl)
	$(WHEEL_VENV)/bin/python -m pip uninstall --quiet --yes uv
	$(WHEEL_VENV)/bin/python -m pip install --quiet --no-compile --no-deps --force-reinstall dist/*.whl
	$(WHEEL_VENV)/bin/python -m pip check
	MONAI_DGM_WHEEL_ENVIRONMENT=$(CURDIR)/$(WHEEL_VENV) $(BIN)/python -m pytest tests/wheel $(ARGS)
	rm -rf build $(WHEEL_VENV)

$(DIST_INSTALLED): $(TEST_INSTALLED)
	$(call install,$(VENV),--editable '.[dist]')
	touch $@

# MONAI Label needs older versions of some packages, so it has a separate environment, with decoders of its own. One process
# by default: the tests start servers and browsers, and continuous integration runs them beside the others. On an idle machine
# LABEL_WORKERS=2 is faster; the tests of the viewer stay together then.
test-label: $(LABEL_TEST_INSTALLED)
	$(LABEL_VENV)/bin/python -m pytest -m "" -n $(LABEL_WORKERS) --dist loadgroup $(ARGS) \
	  $(if $(filter tests/%,$(ARGS)),,tests/apps tests/deploy tests/reader_study/test_browser.py tests/readers/dicom/test_decoders.py)

$(LABEL_INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(call install,$(LABEL_VENV),--editable '.[label-server]')
	$(call install,$(LABEL_VENV),--no-deps monailabel)
	$(LABEL_VENV)/bin/python apps/radiology_dgm/check_requirements.py
	touch $@

$(LABEL_TEST_INSTALLED): $(LABEL_INSTALLED)
	$(call install,$(LABEL_VENV),--editable '.[label-server$(comma)test$(comma)browser]')
	$(LABEL_VENV)/bin/python apps/radiology_dgm/check_requirements.py
	touch $@

label: $(LABEL_INSTALLED)
	-$(MAKE) --no-print-directory ohif # may fail: other viewers work without it
	$(LABEL_VENV)/bin/python apps/radiology_dgm/start.py --port $(PORT) $(if $(STUDIES),--studies '$(STUDIES)') $(ARGS)

label-pacs: $(LABEL_INSTALLED)
	-$(MAKE) --no-print-directory ohif # may fail: other viewers work without it
	$(LABEL_VENV)/bin/python apps/radiology_dgm/pacs.py --port $(PORT) $(ARGS)

# The prebuilt viewer, with pinned version and checksum; no code of it is run or built here.
ohif:
	@$(PYTHON) apps/radiology_dgm/fetch_ohif.py

# The shipped decomposer's normal images against the package's radiographs, where no other study is named.
reader-study: $(INSTALLED)
	@test '$(STUDY)' != $(READER_STUDY)/study || $(MAKE) --no-print-directory $(READER_STUDY)/study
	$(BIN)/python -m monai_dgm.reader_study serve '$(STUDY)' --port $(PORT) $(ARGS)

$(READER_STUDY)/study:
	PYTHONWARNINGS=ignore $(BIN)/python -m monai.bundle run evaluating --config_file bundles/dgm/configs/inference.json \
	  --dataset_dir $(EXAMPLES)/images --output_dir $(READER_STUDY)/decomposition
	$(BIN)/python -m monai_dgm.reader_study make --output_dir $@ \
	  --system real=$(EXAMPLES)/images --system dgm=$(READER_STUDY)/decomposition

# The notebooks of docs/tutorials run while the site is built (a few minutes), each on one torch thread; a cell that fails, a
# broken link or reference fails.
docs: $(DOCS_INSTALLED)
	$(BIN)/python docs/result_tables.py --check
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build $(ARGS)

$(DOCS_INSTALLED): $(TEST_INSTALLED)
	$(call install,$(VENV),--editable '.[docs]')
	$(BIN)/python -m pip check
	touch $@

# All three speak before it fails.
lint: $(TEST_INSTALLED)
	@status=0; for check in "ruff check ." "ruff format --check ." mypy; do \
	  echo "$$check"; $(BIN)/python -m $$check || status=1; \
	done; exit $$status

format: $(TEST_INSTALLED)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf $(VENV) $(LABEL_VENV) $(WHEEL_VENV) $(PYDICOM3_FOLDER) .mypy_cache .pytest_cache .ruff_cache .coverage
