#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs that know nothing of a proxy, through the tunnel: apt and a browser.
# shellcheck disable=SC2034 # PIDS belongs to world.sh
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

PROXY=192.0.2.1
PORT=8888
SITE=http://203.0.113.10:8080
ITEMS=100

make_package() {
	local root=$WORLD/package deb=$WORLD/www/repo/byway-probe.deb
	mkdir -p "$root/DEBIAN" "$root/usr/share/byway-probe" "$WORLD/www/repo"
	head -c 3000000 /dev/urandom >"$root/usr/share/byway-probe/data"
	cat >"$root/DEBIAN/control" <<-END
		Package: byway-probe
		Version: 1
		Architecture: all
		Maintainer: nobody <nobody@example.com>
		Description: something to download
	END
	dpkg-deb --build "$root" "$deb" >/dev/null
	{
		cat "$root/DEBIAN/control"
		echo "Filename: ./byway-probe.deb"
		echo "Size: $(stat -c %s "$deb")"
		echo "SHA256: $(sha256sum <"$deb" | cut -d' ' -f1)"
	} >"$WORLD/www/repo/Packages"
}

# A page with ITEMS scripts, which a browser fetches several at a time; each counts itself.
make_page() {
	local i
	mkdir -p "$WORLD/www/items"
	{
		echo '<!doctype html><title>items</title><body><script>let count = 0;</script>'
		for ((i = 0; i < ITEMS; i++)); do
			echo "<script src=items/$i.js></script>"
			{
				printf "count++; //"
				head -c 20000 /dev/zero | tr '\0' x
			} >"$WORLD/www/items/$i.js"
		done
		echo '<script>document.body.textContent = count + " items";</script>'
	} >"$WORLD/www/page.html"
}

start_site() {
	mkdir -p "$WORLD/site"
	cat >"$WORLD/site.conf" <<-END
		daemon off;
		master_process off;
		user root;
		pid $WORLD/site.pid;
		events { worker_connections 1024; }
		http {
			access_log off;
			types { text/html html; }
			client_body_temp_path $WORLD/site/tmp;
			server { listen 8080; root $WORLD/www; }
		}
	END
	become internet nginx -e "$WORLD/site.log" -c "$WORLD/site.conf" >"$WORLD/site.out" 2>&1 </dev/null &
	PIDS["site"]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 8080 500 || bail "nginx: $(cat "$WORLD/site.log")"
}

start_proxy() {
	cat >"$WORLD/tinyproxy.conf" <<-END
		Port $PORT
		Listen $PROXY
		MaxClients 400
		LogFile "$WORLD/tinyproxy.log"
		LogLevel Warning
		BasicAuth user pass
	END
	become internet tinyproxy -d -c "$WORLD/tinyproxy.conf" >"$WORLD/tinyproxy.out" 2>&1 &
	PIDS["proxy"]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PORT" 500 || bail "tinyproxy does not start"
}

apt() {
	apt-get -q -o Dir::Etc::sourcelist="$WORLD/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State="$WORLD/apt/state" -o Dir::Cache="$WORLD/apt/cache" \
		-o APT::Sandbox::User=root -o Acquire::http::Proxy=DIRECT -o Acquire::Retries=0 "$@"
}

test_apt() {
	mkdir -p "$WORLD/apt/state/lists/partial" "$WORLD/apt/cache/archives/partial"
	echo "deb [trusted=yes] $SITE/repo ./" >"$WORLD/sources.list"
	check "apt-get update" apt update
	check "apt-get download" apt download byway-probe
	check "the package is whole" cmp byway-probe_1_all.deb "$WORLD/www/repo/byway-probe.deb"
}

browse() {
	HOME=$WORLD timeout 150 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
		--disable-dev-shm-usage --disable-background-networking --disable-component-update \
		--disable-sync --no-proxy-server --user-data-dir="$WORLD/chromium" \
		--dump-dom "$1" 2>/dev/null
}

shows() { browse "$1" >"$WORLD/dom" && grep -q "$2" "$WORLD/dom"; }

test_browser() {
	check "a browser loads a page of $ITEMS parts" shows "$SITE/page.html" "$ITEMS items"
}

# The site's address is reached by the tunnel alone: everything was dropped otherwise.
carried() { by proxy status --json | jq -e ".tunnels[0].bytes_down > $1" >/dev/null; }

make_package
make_page
start_site
start_proxy
check "up" by proxy up --proxy-url "http://user:pass@$PROXY:$PORT" --allow-dns 192.0.2.1 --detach -q
test_apt
test_browser
check "all of it went through the tunnel" wait_for carried 4000000
check "down" by proxy down
done_testing
