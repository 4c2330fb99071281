#!/bin/sh
# Builds a JavaScript plugin: sdk/javascript/build.sh SRC_DIR OUT.wasm
#
# SRC_DIR holds `plugin.js`. The tool that it needs is installed once, into the user's cache folder.
# Exit codes: 0 built; 3 Node.js or the tool is missing and cannot be installed; anything else is the tool's own failure.
set -eu

if [ $# -ne 2 ]; then
  echo "usage: build.sh SRC_DIR OUT.wasm" >&2
  exit 2
fi

sdk=$(cd "$(dirname "$0")" && pwd)
contract=$sdk/../../wit/v1
version=$(sed -n 's/.*"componentize-qjs": "\(.*\)".*/\1/p' "$sdk/package.json")
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind/javascript-$version

missing() {
  echo "cannot build JavaScript plugins: $1" >&2
  exit 3
}

# Installs beside the final place and then renames, so that nobody ever sees half of it. When another build was faster,
# the rename fails and its installation is used.
install() {
  command -v npm >/dev/null || missing "\`npm\` is missing; install Node.js 18 or newer, which brings it"
  mkdir -p "$(dirname "$tools")"
  fresh=$(mktemp -d "$tools.XXXXXX")
  cp "$sdk/package.json" "$sdk/package-lock.json" "$fresh"
  if ! (cd "$fresh" && npm install --no-save --no-audit --no-fund --fetch-retries=1 --loglevel=error >log 2>&1); then
    reason=$(grep -m 1 error "$fresh/log" || tail -n 1 "$fresh/log")
    missing "\`npm\` did not install componentize-qjs ($reason); see why with \`npm view componentize-qjs@$version\`"
  fi
  node -e 'fs.renameSync(process.argv[1], process.argv[2])' "$fresh" "$tools" 2>/dev/null || [ -d "$tools" ]
}

# Copies the plugin, and the SDK as the package `tradewind`, to where the tool may read.
stage() {
  if [ ! -f "$1/plugin.js" ]; then
    echo "there is no \`plugin.js\` in $1; hint: pass the folder that holds it" >&2
    exit 1
  fi
  mkdir -p "$work/plugin"
  cp -R "$1/." "$work/plugin"
  mkdir -p "$work/plugin/node_modules/tradewind"
  cp "$sdk/package.json" "$sdk/tradewind.js" "$work/plugin/node_modules/tradewind"
}

# Copies the contract, its world importing only what some module imports. The tool would otherwise import every interface
# of the world, and the operator would have to grant them all.
narrow_contract() {
  cp -R "$contract" "$work/wit"
  for interface in $(sed -n 's/^  import \([a-z-]*\);$/\1/p' "$contract/world.wit"); do
    if ! grep -rqF --include='*.js' --include='*.mjs' "tradewind:plugin/$interface@" "$work/plugin"; then
      sed "/^  import $interface;\$/d" "$work/wit/world.wit" >"$work/world.wit"
      mv "$work/world.wit" "$work/wit/world.wit"
    fi
  done
}

command -v node >/dev/null || missing "\`node\` is missing; install Node.js 18 or newer"
work=$(mktemp -d)
fresh=
trap 'rm -rf "$work" "$fresh"' EXIT
[ -d "$tools" ] || install
stage "$1"
narrow_contract

# `--sync` leaves out asynchronous components, which hosts of WASI 0.2 do not run.
node "$tools/node_modules/componentize-qjs/bin/componentize-qjs" --sync --wit "$work/wit" --world plugin \
  --module-root "$work/plugin" --js "$work/plugin/plugin.js" --output "$2" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }
