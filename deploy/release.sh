#!/bin/sh
# Makes what is published of a version from a program that is built already: a tarball, a Debian package, an SBOM, and the
# checksums. Usage: deploy/release.sh PROGRAM [DIRECTORY]
#
# The Debian package needs `cargo install cargo-deb`, the SBOM (CycloneDX) `cargo install cargo-cyclonedx`; each is left out with
# a warning if its tool is missing. `cargo auditable build --release` makes a program that contains the list of its crates.
set -eu
program=$(realpath "$1")
out=$(realpath "${2:-$(dirname "$0")/../target/dist}")
cd "$(dirname "$0")/.."
if [ $# -gt 1 ] && [ -n "$(ls -A "$out" 2>/dev/null)" ]; then
  echo "error: $out is not empty: give a directory that is, or that does not exist" >&2
  exit 1
fi
version=$("$program" --version | cut -d' ' -f2)
name=auditflow-$version-$(rustc --version --verbose | sed -n 's/^host: //p')
date=$(git log -1 --format=%ct 2>/dev/null || date +%s)
rm -rf "$out" target/package
mkdir -p "$out" target/package/man target/package/completions target/package/systemd

# What Cargo.toml names as the contents of the Debian package.
strip --output-file=target/package/auditflow "$program"
"$program" man target/package/man
"$program" completions bash >target/package/completions/auditflow
"$program" completions zsh >target/package/completions/_auditflow
"$program" completions fish >target/package/completions/auditflow.fish
sed 's|/usr/local/bin/|/usr/bin/|' deploy/systemd/auditflow.service >target/package/systemd/auditflow.service

mkdir "$out/$name"
cp -r target/package/auditflow target/package/man target/package/completions LICENSE THIRD-PARTY.md README.md CHANGELOG.md \
  docs pipelines deploy "$out/$name"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$date" -C "$out" -c "$name" | gzip -9n >"$out/$name.tar.gz"
rm -r "${out:?}/$name"

if cargo deb --version >/dev/null 2>&1; then
  gzip -9n target/package/man/*.1
  SOURCE_DATE_EPOCH=$date cargo deb --no-build --no-strip --output "$out/" >/dev/null
else
  echo "warning: no Debian package; cargo install cargo-deb" >&2
fi

if cargo cyclonedx --version >/dev/null 2>&1; then
  cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename "$name.cdx"
  mv "$name.cdx.json" "$out/"
else
  echo "warning: no SBOM; cargo install cargo-cyclonedx" >&2
fi

(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
