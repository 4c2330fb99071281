#!/bin/sh
# Builds a Python plugin: sdk/python/build.sh SRC_DIR OUT.wasm
#
# SRC_DIR holds `plugin.py`. The tool that it needs is installed once, into the user's cache folder.
# Exit codes: 0 built; 3 Python or the tool is missing and cannot be installed; anything else is the tool's own failure.
set -eu

if [ $# -ne 2 ]; then
  echo "usage: build.sh SRC_DIR OUT.wasm" >&2
  exit 2
fi

sdk=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^componentize-py==//p' "$sdk/requirements.txt")
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind/python-$version

missing() {
  echo "cannot build Python plugins: $1" >&2
  exit 3
}

# Installs beside the final place and then renames, so that nobody ever sees half of it. When another build was faster,
# the rename fails and its installation is used.
install() {
  command -v python3 >/dev/null ||
    missing "\`python3\` is missing; install Python 3.10 or newer with its \`venv\` module"
  mkdir -p "$(dirname "$tools")"
  fresh=$(mktemp -d "$tools.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  python3 -m venv "$fresh" >"$fresh/log" 2>&1 ||
    missing "\`python3 -m venv\` failed; install Python's \`venv\` module (Debian: \`apt install python3-venv\`)"
  if ! "$fresh/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --only-binary :all: \
    --requirement "$sdk/requirements.txt" >"$fresh/log" 2>&1; then
    reason=$(grep -m 1 -i error "$fresh/log" || tail -n 1 "$fresh/log")
    missing "\`pip\` did not install it ($reason); see why with \`python3 -m pip download componentize-py==$version\`"
  fi
  python3 -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' "$fresh" "$tools" 2>/dev/null || [ -d "$tools" ]
}

[ -d "$tools" ] || install
PYTHONDONTWRITEBYTECODE=1 "$tools/bin/python" "$sdk/build.py" "$1" "$2"
