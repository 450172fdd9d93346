#!/usr/bin/env bash
# Builds the real components that the tests, the demo and `make e2e` run: etcd, the parts of Kubernetes, CoreDNS, helm,
# kwok (which plays a node and its pods), promtool, and an OpenTelemetry Collector. Each comes from the pinned Go module beside this
# script; a binary is rebuilt only when something in its folder changed.
# usage: e2e/tools/build.sh OUTPUT_DIR [BINARY...]      (all when none is named)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUTPUT_DIR [BINARY...]}
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
command -v go >/dev/null || { echo "build.sh: Go 1.26 or newer is needed to build the tools (https://go.dev/dl)" >&2; exit 1; }

# module folder, package, binary, and perhaps build tags: one line each. Of promtool's many ways to find targets none is needed.
targets() {
  cat <<'LIST'
etcd go.etcd.io/etcd/server/v3 etcd
kubernetes k8s.io/kubernetes/cmd/kubectl kubectl
kubernetes k8s.io/kubernetes/cmd/kube-controller-manager kube-controller-manager
kubernetes k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver
kubernetes k8s.io/kubernetes/cmd/kube-scheduler kube-scheduler
kubernetes k8s.io/kubernetes/cmd/kube-proxy kube-proxy
kubernetes k8s.io/kubernetes/cmd/kubelet kubelet
coredns github.com/coredns/coredns coredns
helm helm.sh/helm/v4/cmd/helm helm
otelcol . otelcol
kwok sigs.k8s.io/kwok/cmd/kwok kwok
promtool github.com/prometheus/prometheus/cmd/promtool promtool remove_all_sd
LIST
}

# The version that the module beside this script pins, in a `require` line or in a block.
pinned() {
  local version
  version=$(awk -v module="$2" '{sub(/^require /, "")} $1 == module {print $2; exit}' "$here/$1/go.mod")
  [ -n "$version" ] || { echo "build.sh: $1/go.mod pins no $2" >&2; return 1; }
  echo "$version"
}

# A Kubernetes binary without a version in it panics at its start; any other confuses its clients.
ldflags() {
  case $1 in
    kubernetes)
      local version major minor
      version=$(pinned kubernetes k8s.io/kubernetes) || return
      major=$(echo "${version#v}" | cut -d. -f1)
      minor=$(echo "${version#v}" | cut -d. -f2)
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf -- '-X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s ' \
          "$package" "$version" "$package" "$major" "$package" "$minor"
      done ;;
    helm)
      local version
      version=$(pinned helm helm.sh/helm/v4) || return
      printf -- '-X helm.sh/helm/v4/internal/version.version=%s ' "$version" ;;
    otelcol)
      local version
      version=$(pinned otelcol go.opentelemetry.io/collector/otelcol) || return
      printf -- '-X main.version=%s ' "${version#v}" ;;
  esac
}

for name in "$@"; do
  targets | cut -d' ' -f3 | grep -qx -- "$name" || { echo "build.sh: no such binary: $name" >&2; exit 2; }
done
total=$(targets | wc -l)
index=0
while read -r module package binary tags; do
  index=$((index + 1))
  if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx -- "$binary"; then continue; fi
  stamp="$out/.$binary.stamp"
  flags=$(ldflags "$module")
  # What the binary is made of: another tool in this script is no reason to build this one again.
  want=$({ cat "$here/$module"/*; echo "$package $tags $flags"; } | sha256sum | cut -d' ' -f1)
  if [ -x "$out/$binary" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    continue
  fi
  printf '[%d/%d] building %s (minutes on a cold cache)\n' "$index" "$total" "$binary"
  start=$SECONDS
  (cd "$here/$module" && CGO_ENABLED=0 go build -trimpath -tags "$tags" -ldflags "-s -w $flags" -o "$out/$binary.new" "$package")
  mv "$out/$binary.new" "$out/$binary"
  echo "$want" > "$stamp"
  printf '[%d/%d] %s built in %d s\n' "$index" "$total" "$binary" $((SECONDS - start))
done < <(targets)
