# make demo | test | bench | benchmarks | interop | format | lint: each does all of its own set-up, and can be run again at any time.
SWIFT ?= swift
FLAGS = -c release -Xswiftc -enable-testing --explicit-target-dependency-import-check error
SWIFT_SOURCES = Package.swift Sources Examples Benchmarks/Scale Tests
DATA ?= ../shared/data

.PHONY: demo test build bench benchmarks interop format lint names sizes public system

demo: build
	.build/release/swiftlet demo

test: system lint names sizes public
	$(SWIFT) build $(FLAGS) --build-tests
	$(SWIFT) test $(FLAGS) --skip-build

bench: build
	scripts/bench.sh

# Swiftlet beside ExecuTorch, ONNX Runtime, OpenVINO and LiteRT, on a quiet machine; writes docs/benchmarks.md.
benchmarks: build
	Benchmarks/run.sh $(DATA)

# Round trips with PyTorch, torchao and ExecuTorch, in a Python environment made outside this folder; docs/interop.md.
interop: build
	scripts/interop.sh $(DATA)

build: system
	$(SWIFT) build $(FLAGS)

# Debian packages the build links with; installs only what is missing, and only then needs root.
system:
	scripts/setup.sh

format:
	$(SWIFT) format --in-place --recursive $(SWIFT_SOURCES)

lint:
	$(SWIFT) format lint --strict --recursive $(SWIFT_SOURCES)

# Operators are named in their definitions and in tables of formats alone.
names:
	scripts/names.sh

# Lines per file; fails when the 90th percentile or the longest file grows out of hand.
sizes:
	scripts/sizes.sh

# Public declarations; fails when one has no doc comment.
public:
	scripts/public.sh
