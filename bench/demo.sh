#!/usr/bin/env bash
# The main job, end to end: one server binary on three back ends in a private network, each driven by the kernel's own TCP
# as the client, and an HTTP page fetched through weir's TCP stack. Fails when any back end does not serve.
# usage: demo.sh [folder of the built programs]
set -euo pipefail
cd "$(dirname "$0")/.."

inside=no
[ "${1:-}" != --inside ] || { inside=yes; shift; }
bin=$(realpath "${1:-build/release/bin}")

fail() {
  echo "demo: $*" >&2
  exit 1
}

for program in weir-bench-demo services http_server; do
  [ -x "$bin/$program" ] || fail "$bin/$program is missing: build it first (./dev build)"
done
command -v curl >/dev/null || fail "curl is missing (./dev setup installs it)"

if [ $inside = no ]; then
  [ -e /dev/net/tun ] ||
    fail "there is no /dev/net/tun, which weir's own stack needs: modprobe tun, or give the container that device"
  { [ -r /dev/net/tun ] && [ -w /dev/net/tun ]; } ||
    fail "/dev/net/tun is not accessible to $(id -un) ($(stat -c %A /dev/net/tun)): run as root, or chmod 0666 /dev/net/tun" \
      "(the mode that udev gives it: a namespace's own rights still decide what may be done with it)"
  exec "$bin/weir-bench-demo" private-net -- bash "$PWD/bench/demo.sh" --inside "$bin"
fi

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

printf '\n== demo, 2 of 3: '
echo "an HTTP page through weir's own TCP stack, fetched by curl:"
"$bin/http_server" --backend stack --stack.device t1 --http 198.18.0.2:80 >"$work/http.out" 2>"$work/http.err" &
server=$!
for _ in $(seq 100); do
  grep -q '^listening ' "$work/http.out" && break
  kill -0 "$server" 2>/dev/null || fail "http_server ended: $(tail -n 3 "$work/http.err")"
  sleep 0.1
done
grep -q '^listening ' "$work/http.out" || fail "http_server was not listening after 10 s: $(tail -n 3 "$work/http.err")"
page=$(curl --silent --show-error --fail --max-time 5 http://198.18.0.2/plaintext) ||
  fail "curl got no page from http_server on the stack: $(tail -n 3 "$work/http.err")"
[ -n "$page" ] || fail "http_server on the stack sent an empty page"
sed 's/^/  /' "$work/http.out"
echo "  http://198.18.0.2/plaintext: $page"
kill "$server"
wait "$server" || fail "http_server did not end cleanly on SIGTERM: $(tail -n 3 "$work/http.err")"
server=

printf '\n== demo, 3 of 3: '
echo "the same server on three back ends, driven by kernel sockets from another core:"
"$bin/weir-bench-demo" --servers uring,asio,stack --connections 64 --size 64 --rounds 3 --duration 1 --warmup 0.3 \
  --no-syscalls --private-net no --strict --brief --save-markdown "$work/table.md" ||
  fail "not every back end served (the line under the table says why)"
echo "The same as Markdown:"
echo
cat "$work/table.md"
