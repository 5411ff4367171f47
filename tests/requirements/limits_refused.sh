#!/bin/sh
# limits.sh's own test: it takes a table that is right, and names each kind of mistake.
set -eu
script=$(cd "$(dirname "$0")" && pwd)/limits.sh
WEIR_ROOT=$(mktemp -d)
export WEIR_ROOT
trap 'rm -rf "$WEIR_ROOT"' EXIT
cd "$WEIR_ROOT"
mkdir -p docs tests/unit
printf 'TEST_CASE("a_name") {}\nTEST_CASE(\n    "a sentence, and more") {}\nON_EVERY_BACKEND(third) {}\n' >tests/unit/some_test.cpp
failed=0
table() { printf '## Other\n\n| x | y | z |\n\n## Bounds\n\n| bound | value | beyond it | tested by |\n| --- | --- | --- | --- |\n%s\n' "$1" >docs/limits.md; }
refused() {
  if sh "$script" >out 2>&1; then
    echo "FAILED: accepted, though: $1" >&2
    failed=1
  elif ! grep -qF -- "$1" out; then
    echo "FAILED: does not say: $1" >&2
    cat out >&2
    failed=1
  fi
}

table '| `b`: one | 1 | `dropped` | `a_name`, `a sentence, and more`, `third` |'
sh "$script" || failed=1
table '| one | 1 | dropped | `another_name` |'
refused 'no test is called: another_name'
table '| one | 1 | dropped | |'
refused 'no test reaches this bound: one'
table '| one | 1 | dropped |'
refused 'no test reaches this bound: one'
table ''
refused 'no bounds found'
exit "$failed"
