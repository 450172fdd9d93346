#!/usr/bin/env bash
# Makes the Python environment of the tests' instrumented programs, from requirements.txt beside this script; anew only
# when that changed.
# usage: e2e/python/build.sh OUTPUT_DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUTPUT_DIR}
command -v python3 >/dev/null || { echo "build.sh: Python 3.10 or newer is needed for the instrumented programs" >&2; exit 1; }
want=$(cat "$here/requirements.txt" "$here/build.sh" | sha256sum | cut -d' ' -f1)
if [ -x "$out/bin/python" ] && [ "$(cat "$out/.stamp" 2>/dev/null)" = "$want" ]; then
  exit 0
fi
echo "making the Python environment of the tests"
rm -rf "$out"
python3 -m venv "$out" || { echo "build.sh: python3 has no venv (Debian: apt-get install python3-venv)" >&2; exit 1; }
"$out/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements.txt"
"$out/bin/pip" check
echo "$want" > "$out/.stamp"
