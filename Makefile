# make run     build and start the server on this machine
# make test    everything that CI runs
# make check   the quick inner loop: format, vet, lint, tests
# make build   bin/mixdown
# make arm64   bin/mixdown-arm64, for a Raspberry Pi and the like
# make bench   measure what the README's tables show, and keep it (BENCH_TIME each)
# make fuzz    fuzz every parser, FUZZTIME each
# make clips   real pictures and speech for tests and bench, into .cache/clips
# make e2e     browser tests
# make deps    install what is missing (Debian, Ubuntu)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

# dynamic: mediadevices would link a libopus of its own otherwise.
# nolibopusfile: hraban/opus would need libopusfile, for a reader nobody uses.
TAGS := dynamic,nolibopusfile
export GOFLAGS := -buildvcs=false -tags=$(TAGS)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s
STATICCHECK_VERSION := v0.7.0
PEBBLE_VERSION := v2.10.1
GO_DIRS := api cmd codec mixer transport web

# H.264 and a microphone are libraries that are loaded at run time, which static
# binaries cannot. STATIC=1 gives one without them, which needs nothing where it
# runs; it takes the other libraries' archives to make.
STATIC ?= 0
LDFLAGS := -s -w -X main.version=$(VERSION)
ifeq ($(STATIC),1)
BUILD_FLAGS := -tags=$(TAGS),netgo,osusergo,nomicrophone,nodlopen -ldflags='$(LDFLAGS) -linkmode external -extldflags "-static"'
else
BUILD_FLAGS := -ldflags='$(LDFLAGS)'
endif

BUILD_PACKAGES := build-essential pkg-config libvpx-dev libopus-dev libyuv-dev libspeexdsp-dev fonts-noto-cjk fonts-noto-color-emoji fonts-dejavu-core
# Cisco's own OpenH264 is what users should have (see README.md): Debian's is for tests.
TEST_PACKAGES := ffmpeg mkvtoolnix chromium firefox-esr libopenh264-7 \
	python3-gst-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-nice
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: run build arm64 test check deps deps-test clips lint vet unit race fuzz fuzz-smoke e2e bench clean

run: build
	bin/mixdown serve

build: deps
	@mkdir -p bin
	go build -trimpath $(BUILD_FLAGS) -o bin/mixdown ./cmd/mixdown
	@[ "$(STATIC)" = 1 ] || echo "bin/mixdown needs libvpx, libopus, libyuv and libspeexdsp where it runs (STATIC=1: nothing, but then no H.264)"

# Made on this machine for 64-bit ARM: of the codecs Debian's own libraries, unpacked
# and not installed, are linked in. It needs glibc where it runs, and nothing else,
# so it has microphone and loudspeaker.
ARM64 := .cache/arm64
ARM64_LIBS := $(ARM64)/root/usr/lib/aarch64-linux-gnu
ARM64_APT := apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
	-o Dir::State::Lists=$(CURDIR)/$(ARM64)/lists -o Dir::State::status=/dev/null -o Dir::Cache=$(CURDIR)/$(ARM64)/cache
arm64: deps $(ARM64_LIBS)
	$(call install,gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross)
	@mkdir -p bin
	GOARCH=arm64 CGO_ENABLED=1 CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ \
		PKG_CONFIG_LIBDIR=$(CURDIR)/$(ARM64_LIBS)/pkgconfig PKG_CONFIG_SYSROOT_DIR=$(CURDIR)/$(ARM64)/root \
		CGO_CFLAGS="-O2 -I$(CURDIR)/$(ARM64)/root/usr/include" CGO_CXXFLAGS="-O2 -I$(CURDIR)/$(ARM64)/root/usr/include" \
		CGO_LDFLAGS="-L$(CURDIR)/$(ARM64_LIBS)" \
		go build -trimpath -ldflags='$(LDFLAGS) -linkmode external -extldflags "-static-libgcc -static-libstdc++"' -o bin/mixdown-arm64 ./cmd/mixdown

# Without the shared libraries the linker takes the others.
$(ARM64_LIBS):
	@rm -rf $(ARM64) && mkdir -p $(ARM64)/lists/partial $(ARM64)/cache/archives/partial $(ARM64)/debs
	@$(ARM64_APT) update
	@cd $(ARM64)/debs && $(ARM64_APT) download libvpx-dev libopus-dev libyuv-dev libspeexdsp-dev libjpeg62-turbo-dev
	@for deb in $(ARM64)/debs/*.deb; do dpkg-deb -x "$$deb" $(ARM64)/unpacked; done
	@rm $(ARM64)/unpacked/usr/lib/aarch64-linux-gnu/*.so && mv $(ARM64)/unpacked $(ARM64)/root

test: deps deps-test clips lint race fuzz-smoke e2e

check: deps clips lint unit

# $(call install,PACKAGES): asks apt only when something is missing.
define install
	@missing=$$(for p in $(1); do dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		command -v apt-get >/dev/null || { echo "missing:" $$missing "(no apt-get here: install them by hand)"; exit 1; }; \
		$(SUDO) apt-get -qq update; \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get -qq install --no-install-recommends -y $$missing; \
	fi
endef

deps:
	@command -v go >/dev/null || { echo "Go is missing: https://go.dev/dl/ (version in go.mod)"; exit 1; }
	$(call install,$(BUILD_PACKAGES))

deps-test: deps
	$(call install,$(TEST_PACKAGES))
	@command -v npm >/dev/null || { $(SUDO) apt-get -qq update; $(SUDO) apt-get -qq install --no-install-recommends -y nodejs npm; }

clips:
	@cmd/mixdown/testdata/fetch-clips.sh

vet:
	@out=$$(gofmt -l $(GO_DIRS)); [ -z "$$out" ] || { echo "not gofmt'ed:"; echo "$$out"; exit 1; }
	go vet ./...

# ST1005: errors of New name the Config field at fault, which is a capital.
lint: vet .cache/bin/staticcheck
	@if [ -s .cache/bin/staticcheck ]; then echo staticcheck ./...; .cache/bin/staticcheck -tags $(TAGS) -checks inherit,-ST1005 ./...; \
	else echo "staticcheck $(STATICCHECK_VERSION) could not be had: only go vet was run"; fi

# An empty file says that it cannot be had here.
.cache/bin/staticcheck:
	@mkdir -p .cache/bin
	@GOFLAGS= GOBIN=$(CURDIR)/.cache/bin go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION) || touch $@

# Let's Encrypt's own server for tests of what asks it for certificates. An empty
# file as above.
.cache/bin/pebble:
	@mkdir -p .cache/bin
	@GOFLAGS= GOBIN=$(CURDIR)/.cache/bin go install github.com/letsencrypt/pebble/v2/cmd/pebble@$(PEBBLE_VERSION) || touch $@
	@[ -s $@ ] || echo "pebble $(PEBBLE_VERSION) could not be had: certificates by ACME are not tested"

# All but most tests of the whole program, which take nine minutes: of those the
# ones that tell in seconds whether it works. Simulations cover less time than usual.
# Most packages wait most of their time, so more run than there are cores, the
# longest first.
unit: .cache/bin/pebble
	go test -short -p $$((2 * $$(nproc))) ./mixer ./mixer/audio ./transport $$(go list ./... | grep -v '^mixdown/cmd/mixdown$$')
	go test -short -run 'Import|Default|Flag|File|Usage|Version|JoinPins|Admin|TwoHear|TLS' ./cmd/mixdown

# The tests of the whole program measure pauses, so nothing runs beside them, and
# once without the race detector, which makes everything too slow to tell.
race: .cache/bin/pebble
	go test -race $$(go list ./... | grep -v '^mixdown/cmd/mixdown$$')
	go test -timeout 20m ./cmd/mixdown
	go test -race -timeout 20m ./cmd/mixdown

# Every fuzz target there is, each for a while. Corpora run with the unit tests.
fuzz:
	@grep -rlE --include='*_test.go' '^func Fuzz' $(GO_DIRS) | sort | while read -r file; do \
		for target in $$(grep -oE '^func Fuzz[A-Za-z0-9_]*' $$file | cut -d' ' -f2); do \
			echo "fuzz ./$$(dirname $$file) $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file); \
		done; \
	done

# By count, not by time: Go's fuzzer now and then takes the end of its time for a
# failure.
fuzz-smoke:
	@$(MAKE) fuzz FUZZTIME=1000x

e2e: deps-test build clips web/e2e/node_modules/.package-lock.json
	cd web/e2e && npm test

web/e2e/node_modules/.package-lock.json: web/e2e/package-lock.json
	cd web/e2e && npm ci --no-audit --no-fund
	@touch $@

# The README's tables, twice BENCH_TIME for each room, and kept with the date:
# about an hour; BENCH_TIME=10s BENCH_CAPACITY=0 takes six minutes.
BENCH_TIME ?= 60s
BENCH_CAPACITY ?= 128
BENCH_RESULTS := cmd/mixdown/internal/bench/results
bench: build clips
	bin/mixdown bench headline --duration $(BENCH_TIME) --capacity-to $(BENCH_CAPACITY) --results $(BENCH_RESULTS) \
		--commit "$$(git describe --always --abbrev=12 --exclude='*' --dirty 2>/dev/null || echo unknown)"

clean:
	rm -rf bin .cache
