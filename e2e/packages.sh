#!/usr/bin/env bash
# Says which programs of the system are missing for a node (`make e2e`) or a browser (`make test`), and installs them by apt-get where it
# is root on Debian or Ubuntu. No service is started by that: the node runs its own containerd, with its own folders and socket.
# usage: e2e/packages.sh [--check] node|browser      (--check: only say what is missing)
set -euo pipefail

check=
if [ "${1:-}" = --check ]; then
  check=1
  shift
fi
purpose=${1:-node}

# program (or file), Debian package: one line each
needed() {
  if [ "$purpose" = browser ]; then
    printf '%s\n' "chromium chromium" "chromedriver chromium-driver"
    return
  fi
  cat <<'LIST'
containerd containerd
ctr containerd
runc runc
nft nftables
iptables iptables
ip iproute2
nsenter util-linux
unshare util-linux
redis-server redis-server
objdump binutils
LIST
}

missing() {
  local program package folder
  while read -r program package; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || echo "$package"
  done < <(needed)
  if [ "$purpose" = browser ]; then return; fi
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    if [ -x "$folder/ptp" ] && [ -x "$folder/host-local" ]; then return; fi
  done
  echo containernetworking-plugins
}

packages=$(missing | sort -u | tr '\n' ' ')
packages=${packages% }
[ -n "$packages" ] || exit 0
if [ -n "$check" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "packages.sh: a $purpose needs what these Debian packages hold: $packages" >&2
  exit 1
fi

echo "installing $packages"
# The usual way to install packages without starting their services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086  # a list of words
if ! { apt-get update && apt-get install --yes --no-install-recommends $packages; } > "$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "packages.sh: apt-get failed; its whole output is in $log" >&2
  exit 1
fi
rm -f "$log"
left=$(missing | sort -u | tr '\n' ' ')
[ -z "$left" ] || { echo "packages.sh: installed, and still missing: $left" >&2; exit 1; }
