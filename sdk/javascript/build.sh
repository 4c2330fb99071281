#!/bin/sh
# Builds a JavaScript plugin: sdk/javascript/build.sh SRC_DIR OUT.wasm [quickjs|starlingmonkey]
#
# SRC_DIR holds `plugin.js`. The last argument is the engine that the component brings, by default `quickjs`. What builds
# for an engine is installed once, into the user's cache folder.
# Exit codes: 0 built; 3 Node.js or the tool is missing and cannot be installed; anything else is the tool's own failure.
#
# To add an engine: a folder in `engines/` with its pinned tool and a `build.mjs`, and its lines here.
set -eu

usage() {
  echo "usage: build.sh SRC_DIR OUT.wasm [quickjs|starlingmonkey]" >&2
  exit 2
}

[ $# -eq 2 ] || [ $# -eq 3 ] || usage
engine=${3:-quickjs}
case $engine in
  quickjs) tool=componentize-qjs node_least=18 ;;
  starlingmonkey) tool=@bytecodealliance/componentize-js node_least=20 ;;
  *) usage ;;
esac

sdk=$(cd "$(dirname "$0")" && pwd)
contract=$sdk/../../wit/v1
version=$(sed -n "s|.*\"$tool\": \"\(.*\)\".*|\1|p" "$sdk/engines/$engine/package.json")
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind/javascript-$engine-$version

missing() {
  echo "cannot build JavaScript plugins for $engine: $1" >&2
  exit 3
}

# Installs beside the final place and then renames, so that nobody ever sees half of it. When another build was faster,
# the rename fails and its installation is used.
install() {
  command -v npm >/dev/null || missing "\`npm\` is missing; install Node.js $node_least or newer, which brings it"
  mkdir -p "$(dirname "$tools")"
  fresh=$(mktemp -d "$tools.XXXXXX")
  cp "$sdk/engines/$engine/package.json" "$sdk/engines/$engine/package-lock.json" "$fresh"
  # The tools are native programs that come as optional packages. None of them needs an install script.
  if ! (cd "$fresh" && npm install --no-save --include=optional --ignore-scripts --no-audit --no-fund \
    --fetch-retries=1 --loglevel=error >log 2>&1); then
    reason=$(grep -m 1 error "$fresh/log" || tail -n 1 "$fresh/log")
    missing "\`npm\` did not install $tool ($reason); see why with \`npm view $tool@$version\`"
  fi
  node -e 'fs.renameSync(process.argv[1], process.argv[2])' "$fresh" "$tools" 2>/dev/null || [ -d "$tools" ]
}

# Copies the plugin, and the SDK as the package `tradewind`, to where the tool may read and write.
stage() {
  if [ ! -f "$1/plugin.js" ]; then
    echo "there is no \`plugin.js\` in $1; hint: pass the folder that holds it" >&2
    exit 1
  fi
  mkdir -p "$work/plugin"
  cp -R "$1/." "$work/plugin"
  # A link to the SDK, as editors like it, would be written through.
  rm -rf "$work/plugin/node_modules/tradewind"
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

command -v node >/dev/null || missing "\`node\` is missing; install Node.js $node_least or newer"
[ "$(node -p 'parseInt(process.versions.node)')" -ge "$node_least" ] ||
  missing "\`node\` is $(node --version); install Node.js $node_least or newer"
work=$(mktemp -d)
fresh=
trap 'rm -rf "$work" "$fresh"' EXIT
case $work in
  *[[:space:]]*)
    # What builds for starlingmonkey takes a path with a space for two paths.
    rm -r "$work"
    work=$(mktemp -d /tmp/tradewind.XXXXXX)
    ;;
esac
[ -d "$tools" ] || install
stage "$1"
narrow_contract

node "$sdk/engines/$engine/build.mjs" "$tools" "$work/plugin" "$work/wit" "$2" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }
