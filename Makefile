# SPDX-License-Identifier: GPL-2.0-or-later
#
# The way in. What is compiled how stands in meson.build; the scripts in tools/ do the work.

PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: build test demo bench deb install clean

build:
	@tools/deps.sh build agents
	@tools/build.sh build --buildtype=release

demo:
	@tools/deps.sh build world guest
	@tools/build.sh build --buildtype=release
	@BYWAY=build/byway demo/lab.sh
	@BYWAY=build/byway demo/vpc.sh
	@BYWAY=build/byway demo/vm.sh

test:
	@tools/deps.sh build agents world test guest deb deb-test
	@tools/test.sh

bench: build
	@tools/deps.sh world bench
	@BYWAY=build/byway bench/run.sh
	@BYWAY=build/byway bench/proxy.sh
	@BYWAY=build/byway bench/ssh.sh
	@BYWAY=build/byway bench/session.sh
	@BYWAY=build/byway bench/vm.sh
	@BYWAY=build/byway bench/apply.sh

deb:
	@tools/deps.sh build agents deb
	@tools/deb.sh build-deb

install:
	@tools/deps.sh build agents
	@tools/build.sh build --buildtype=release --prefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C build --no-rebuild

clean:
	rm -rf build build-clang build-san build-deb bench/results.json bench/results-proxy.json bench/results-ssh.json \
		bench/results-session.json bench/results-vm.json bench/results-apply.json
