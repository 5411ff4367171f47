#!/usr/bin/env bash
# The house rules that a compiler does not check. Called by ./dev lint; names every breach as file:line and ends
# with 1 when there was one. A line may carry "lint: allow" with a reason where a rule does not fit it.
set -u
shopt -s lastpipe  # report counts in this shell, though it ends a pipeline
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here=cmake
breaches=0

# Tracked files and new ones that git does not ignore.
files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

# report TITLE: fails when there is anything on stdin.
report() {
  local found
  found=$(grep -v 'lint: allow' || true)
  if [ -n "$found" ]; then
    printf '%s\n' "$found" | sed 's/^/  /' | sed "1i $1:"
    breaches=$((breaches + $(printf '%s\n' "$found" | wc -l)))
  fi
}

# search PATTERN files...: file:line:text, nothing when there are no files. Perl expressions.
search() {
  local pattern=$1
  shift
  [ $# -eq 0 ] || grep -nHP -- "$pattern" "$@"
}

mapfile -t sources < <(files '*.cpp' '*.hpp' '*.c' '*.h')
mapfile -t products < <(files '*.cpp' '*.hpp' '*.c' '*.h' | grep -v '^tests/')
mapfile -t public < <(files 'runtime/include/*.hpp' 'stack/include/*.hpp')
mapfile -t stack < <(files 'stack/*.cpp' 'stack/*.hpp' | grep -v '^stack/device/')
mapfile -t core < <(files 'runtime/core/*.cpp' 'runtime/core/*.hpp')
mapfile -t libraries < <(files 'stack/*.cpp' 'stack/*.hpp' 'stack/*.c' 'runtime/*.cpp' 'runtime/*.hpp')
mapfile -t texts < <(files '*.cpp' '*.hpp' '*.c' '*.h' '*.cmake' '*CMakeLists.txt' '*.sh' '*.md' dev)

if [ ${#sources[@]} -gt 0 ]; then
  # (One file is what the installed checker has to find.)
  awk -f $here/lint_coroutines.awk "${sources[@]}" | grep -v '^tests/install/consumer/dropped\.cpp:' |
    report "coroutines that g++ 12.2 miscompiles"
fi
search 'co_await \((?:[^()]|\([^()]*\))*\?' "${sources[@]}" |
  report "co_await (c ? f() : g()) is a use after free on g++ 12.2: write c ? co_await f() : co_await g()"
search 'co_await [^;]*[(,] *\[[^\]]*(=|(?<![&a-z_])(?!this\b)[a-z_]+ *[,\]])[^\]]*\] *[({]' "${sources[@]}" |
  report "a lambda that captures by value inside a co_await is destroyed twice on g++ 12.2: name it first"

for f in "${products[@]}"; do
  n=$(wc -l <"$f")
  [ "$n" -le 600 ] || echo "$f:$n: lines"
done | report "longer than 600 lines"
for f in "${sources[@]}"; do
  head -n 1 "$f" | grep -qE '^(//|/\*)' || echo "$f:1: does not say what it owns"
done | report "a file opens with a comment"

search '#include [<"](liburing|asio|linux/io_uring|linux/if_tun)' "${public[@]}" |
  report "public headers include neither liburing nor Asio nor TUN"
search '^\s*using namespace ' "${public[@]}" | report "no using namespace in a public header"
search '#include [<"](sys/|linux/|netinet/|net/|unistd|fcntl|poll|thread|mutex|condition_variable|coroutine|future|random|fmt/)' \
  "${stack[@]}" | report "the stack makes no system call, starts no thread, knows no coroutine"
search '\b(steady_clock|system_clock|high_resolution_clock)::now|\bclock_gettime\b|\bgettimeofday\b|\brand\(\)|\brandom_device\b|\bgetenv\(' \
  "${stack[@]}" | report "the stack reads no clock and no randomness"
search '#include [<"](weir/(?!stack/)|runtime/)' "${stack[@]}" |
  report "the stack includes nothing of the runtime"
search '#include [<"](runtime/(driver|transport|config|observe)/|liburing|asio|sys/|netinet/)' "${core[@]}" |
  report "the core includes no driver, transport or system interface"
search '^#include "(?!(stack|runtime|weir)/)' "${libraries[@]}" |
  report "an include of the libraries says whose header it is: stack/, runtime/ or weir/"
# The table of arrows (docs/architecture.md): arrow FOLDER... -- PATTERN of what these may not include.
arrow() {
  local folders=() each
  while [ "$1" != -- ]; do folders+=("$1/*.cpp" "$1/*.hpp"); shift; done
  mapfile -t each < <(files "${folders[@]}")
  search "#include \"$2" "${each[@]}"
}
{
  arrow runtime/core -- 'runtime/(driver|transport|sim|config|observe|run|http|tls|resolve)/' |
    grep -vE '^runtime/core/(shard|net|udp)\.cpp:'
  files 'runtime/core/*' | grep -vE '^runtime/core/(shard|net|udp)\.cpp$' | grep -E '[.][ch]pp$' |
    while read -r f; do search '#include "runtime/backend/' "$f"; done
  arrow runtime/backend -- 'runtime/(driver|transport|sim|config|observe|run|http|tls|resolve)/'
  arrow runtime/driver -- 'runtime/(transport|sim|run|http|tls|resolve)/'
  arrow runtime/transport -- 'runtime/(sim|run|http|tls|resolve)/'
  arrow runtime/config -- 'runtime/(driver|transport|sim|run|http|tls|resolve|backend)/'
  arrow runtime/observe -- 'runtime/(driver|transport|sim|run|tls|resolve|files|process|http/(?!wire/))'
  arrow runtime/files runtime/process runtime/tasks -- 'runtime/(driver|transport|sim|run|http|tls|resolve|observe)/'
  arrow runtime/sim -- 'runtime/(run|http|tls|resolve)/'
  arrow stack/link -- '(?!(stack/(base|wire|link)|weir)/)'
  arrow stack/base stack/wire stack/buffer stack/tcp stack/ip stack/udp stack/listen stack/share stack/host -- 'stack/link/'
  arrow runtime/http runtime/tls runtime/resolve runtime/testing -- 'runtime/(driver|transport|sim|run|backend)/'
} | report "an arrow that docs/architecture.md does not have"
search '#include "runtime/run/' $(files 'runtime/*.cpp' 'runtime/*.hpp' | grep -vE '^runtime/(run|tools)/') |
  report "nothing but run() and the tools includes run/"
search '^(?!\s*//)[^\"]*(\bio_uring_(un)?register\w*\(|\bio_uring_queue_init|__NR_io_uring)' \
  $(printf '%s\n' "${products[@]}" | grep '^runtime/' | grep -v '^runtime/driver/uring/ring_rules.cpp$') |
  report "rings are set up, and registered with, in driver/uring/ring_rules.cpp only"
search '\b(TODO|FIXME|XXX|HACK)\b' "${texts[@]}" | grep -v "^$here/lint.sh:" | report "unfinished business"

sh tests/requirements/conformance.sh --check 2>&1 | report "what docs/conformance.md and the tests say of each other"

if [ "$breaches" -gt 0 ]; then
  echo "lint: $breaches breaches of the house rules"
  exit 1
fi
echo "lint: house rules kept in ${#sources[@]} source files"
