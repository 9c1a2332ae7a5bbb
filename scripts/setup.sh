#!/bin/sh
# Installs the Debian packages that Swiftlet links with, if they are missing. Does nothing on a machine that has them.
set -eu
packages="libxnnpack-dev libpthreadpool-dev libturbojpeg0-dev libpng-dev zlib1g-dev"
missing=""
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if ! command -v swift >/dev/null 2>&1; then
  echo "Swiftlet needs a Swift 6.2 or newer toolchain: https://www.swift.org/install/linux" >&2
  exit 1
fi
[ -n "$missing" ] || exit 0
echo "Installing system packages:$missing" >&2
run=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || { echo "Run as root once: apt-get install$missing" >&2; exit 1; }
  run=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$run apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
  $run apt-get update -qq
  $run apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
