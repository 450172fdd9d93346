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

build_operator() {
  needs "$operator" "cargo build"
  image operator "$operator" --binary "$work/operator=/usr/local/bin/tracesteward" --entrypoint tracesteward --user 65532
}

prepare_operator() {
  strip -o "$work/operator" "$operator"
}

build_redis() {
  needs /usr/bin/redis-server "apt-get install redis-server"
  image redis /usr/bin/redis-server --binary /usr/bin/redis-server=/usr/bin/redis-server \
    --binary /usr/bin/redis-cli=/usr/bin/redis-cli --entrypoint /usr/bin/redis-server --user 65532 --workdir /tmp
}

# This machine's Python. Nothing of it but the interpreter and the standard library goes into an image.
python_facts() {
  [ -z "${python:-}" ] || return 0
  local facts
  facts=$(python3 -c '
import os, sys, sysconfig
assert sys.version_info >= (3, 10), "build.sh: Python 3.10 or newer is needed"
version = "python%d.%d" % sys.version_info[:2]
print(os.path.realpath(sys._base_executable), sysconfig.get_path("stdlib"), version, os.path.basename(sysconfig.get_path("purelib")))')
  read -r python stdlib version packages <<< "$facts"
}

# Compiled files that are valid by themselves, wherever they are copied to and whenever.
compile() {
  "$python" -m compileall -q -f --invalidation-mode unchecked-hash -s "$1" -p "$2" "$1" > /dev/null
}

# install FOLDER IN_IMAGE REQUIREMENTS...: pinned packages, without what differs from one installation to the next.
install() {
  local folder=$1 path=$2 requirements=()
  shift 2
  for file in "$@"; do requirements+=(--requirement "$here/$file"); done
  if [ ! -x "$work/venv/bin/python" ]; then "$python" -m venv "$work/venv"; fi
  rm -rf "$folder"
  "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$folder" "${requirements[@]}"
  rm -rf "$folder/bin"
  find "$folder" \( -name RECORD -o -name INSTALLER -o -name REQUESTED -o -name direct_url.json \) -delete
  compile "$folder" "$path"
}

prepare_stdlib() {
  local folder=$work/stdlib/$version
  rm -rf "$work/stdlib"
  mkdir -p "$folder"
  (cd "$stdlib" && tar -c --exclude=./test --exclude='./config-*' --exclude=./idlelib --exclude=./tkinter --exclude=./turtledemo \
    --exclude=./lib2to3 --exclude=./ensurepip --exclude=./site-packages --exclude=./dist-packages --exclude=__pycache__ \
    --exclude='_tkinter*' --exclude='_test*' --exclude='*.a' .) | tar -x -C "$folder"
  compile "$folder" "/usr/local/lib/$version"
}

# python_image NAME REQUIREMENTS...: the interpreter, these packages, and the applications in /app.
python_image() {
  local name=$1 path
  shift
  python_facts
  path=/usr/local/lib/$version/$packages
  eval "prepare_$name() { prepare_stdlib; install '$work/$name' '$path' $*; }"
  image "$name" "$python $here/../apps ${*/#/$here/}" \
    --tree "$work/stdlib/$version=/usr/local/lib/$version" --tree "$work/$name=$path" --tree "$here/../apps=/app" \
    --binary "$python=/usr/local/bin/python3" --entrypoint python3 --user 65532 --workdir /app
}

build_python() {
  python_image python requirements-app.txt
}

build_python-sdk() {
  python_image python-sdk requirements-app.txt requirements-instrumentation.txt requirements-sdk.txt
}

prepare_autoinstrumentation-python() {
  install "$work/autoinstrumentation" /autoinstrumentation requirements-instrumentation.txt
}

# Laid out as the image of the OpenTelemetry operator: the packages in /autoinstrumentation, and cp.
build_autoinstrumentation-python() {
  python_facts
  image autoinstrumentation-python "$python $here/requirements-instrumentation.txt" \
    --tree "$work/autoinstrumentation=/autoinstrumentation" --binary /bin/cp=/bin/cp
}

names="pause coredns otelcol operator redis python python-sdk autoinstrumentation-python"
for name in ${*:-$names}; do
  case " $names " in
    *" $name "*) "build_$name" ;;
    *) echo "build.sh: no image is called $name; there are: $names" >&2; exit 2 ;;
  esac
done
