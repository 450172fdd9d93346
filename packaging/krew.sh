#!/usr/bin/env bash
# Prints the krew manifest of a release.
# usage: packaging/krew.sh VERSION SHA256SUMS
set -euo pipefail

version=${1:?usage: krew.sh VERSION SHA256SUMS}
sums=${2:?usage: krew.sh VERSION SHA256SUMS}
manifest=$(sed -e '/^#/d' -e "s/VERSION/$version/g" "$(dirname "$0")/krew.yaml")
while read -r sum name; do
  manifest=${manifest//"SHA256($name)"/$sum}
done < "$sums"
if grep -q 'SHA256(' <<< "$manifest"; then
  echo "krew.sh: $sums lacks: $(grep -o 'SHA256([^)]*)' <<< "$manifest" | tr '\n' ' ')" >&2
  exit 1
fi
printf '%s\n' "$manifest"
