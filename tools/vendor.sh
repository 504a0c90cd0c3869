#!/usr/bin/env bash
# Fetches the dashboard's libraries once more and writes VENDOR.toml. A person runs it to change a version; nothing else does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

HTMX=4.0.1
UPLOT=1.6.32
to=orchestrator/http_api/dashboard/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # package version
  (cd "$work" && npm pack --silent "$1@$2" >/dev/null && mkdir "$1" && tar xzf ./*.tgz -C "$1" --strip-components=1 && rm ./*.tgz)
}
take() { # package version licence file-in-package name
  # The maps are not shipped: a pointer to one would only be a request that finds nothing.
  sed -e '/^\/\/# sourceMappingURL=/d' "$work/$1/$4" >"$to/$5"
  {
    echo
    echo "[[file]]"
    echo "name = \"$5\""
    echo "package = \"$1\""
    echo "version = \"$2\""
    echo "licence = \"$3\""
    echo "sha256 = \"$(sha256sum "$to/$5" | cut -d' ' -f1)\""
  } >>"$to/VENDOR.toml"
}

fetch htmx.org $HTMX
fetch uplot $UPLOT
rm -rf "$to"
mkdir -p "$to"
echo "# Written by tools/vendor.sh; a test compares the hashes." >"$to/VENDOR.toml"
take htmx.org $HTMX 0BSD dist/htmx.min.js htmx.js
take htmx.org $HTMX 0BSD dist/ext/hx-sse.min.js hx-sse.js
take uplot $UPLOT MIT dist/uPlot.iife.min.js uplot.js
take uplot $UPLOT MIT dist/uPlot.min.css uplot.css
cp "$work/htmx.org/LICENSE" "$to/LICENSE.htmx"
cp "$work/uplot/LICENSE" "$to/LICENSE.uplot"
