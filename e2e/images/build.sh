#!/usr/bin/env bash
# Builds the images of the real node from local files, as docker-archives: OUT_DIR/NAME.tar with the tag local.test/NAME:1.
# An image is built anew only when what is in it changed.
# usage: e2e/images/build.sh OUT_DIR [NAME...]      (NAME: one of those below; all when absent)
# environment: TOOLS (default target/tools/bin): coredns, otelcol; OPERATOR (default target/debug/tracesteward): the operator
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUT_DIR [NAME...]}
shift
root=$(cd "$here/../.." && pwd)
tools=${TOOLS:-$root/target/tools/bin}
operator=${OPERATOR:-$root/target/debug/tracesteward}
mkdir -p "$out/.work"
out=$(cd "$out" && pwd)
work=$out/.work

# What an image is made of, in one word: contents of files, names and contents of folders. Large binaries by size and date.
inputs() {
  for path in "$here/image.py" "$here/build.sh" "$@"; do
    if [ -d "$path" ]; then
      (cd "$path" && find . -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    elif [ "$(stat -c %s "$path")" -gt 1000000 ]; then
      stat -L -c '%n %s %Y' "$path"
    else
      sha256sum < "$path"
    fi
  done | sha256sum | cut -d' ' -f1
}

# image NAME "INPUT..." ARGUMENT...: writes the image unless it is there.
image() {
  local name=$1 want
  # shellcheck disable=SC2086
  want=$(inputs $2)
  shift 2
  if [ -f "$out/$name.tar" ] && [ "$(cat "$work/$name.stamp" 2>/dev/null)" = "$want" ]; then return; fi
  if declare -F "prepare_$name" > /dev/null; then "prepare_$name"; fi
  python3 "$here/image.py" "$out/$name.tar" "local.test/$name:1" "$@"
  echo "$want" > "$work/$name.stamp"
  echo "image $name: $(du -h "$out/$name.tar" | cut -f1)"
}

needs() {
  [ -x "$1" ] || { echo "build.sh: $1 is not there: $2" >&2; exit 1; }
}

prepare_pause() {
  (cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$work/pause" .)
}

build_pause() {
  image pause "$here/pause" --binary "$work/pause=/pause" --entrypoint /pause --user 65532
}

build_coredns() {
  needs "$tools/coredns" "make tools"
  image coredns "$tools/coredns" --binary "$tools/coredns=/coredns" --entrypoint /coredns
}

build_otelcol() {
  needs "$tools/otelcol" "make tools"
  image otelcol "$tools/otelcol" --binary "$tools/otelcol=/otelcol-contrib" --entrypoint /otelcol-contrib --user 10001
}

names="pause coredns otelcol"
for name in ${*:-$names}; do
  case " $names " in
    *" $name "*) "build_$name" ;;
    *) echo "build.sh: no image is called $name; there are: $names" >&2; exit 2 ;;
  esac
done
