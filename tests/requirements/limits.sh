#!/bin/sh
# Every bound in docs/limits.md names the tests that reach it, and every test that it names is there.
#
# WEIR_ROOT is another tree to look at; this script's own test uses it.
set -eu
LC_ALL=C
export LC_ALL
cd "${WEIR_ROOT:-$(dirname "$0")/../..}"
names=$(mktemp)
trap 'rm -f "$names"' EXIT

# The names of all tests, one a line, also where a name stands on the line after TEST_CASE(.
find tests -name '*.cpp' | sort | xargs awk '
  function name_in(text) {
    if (match(text, /"[^"]*"/)) print substr(text, RSTART + 1, RLENGTH - 2)
  }
  pending { name_in($0); pending = 0 }
  /^TEST_CASE\($/ { pending = 1 }
  /^TEST_CASE\("/ { name_in($0) }
  /^([A-Z]+_)?(CONFORMANCE|ON_EVERY_BACKEND)\(/ { sub(/^[A-Z_]*\(/, ""); sub(/[),].*/, ""); print }
' >"$names"

awk -F'|' -v names="$names" '
  BEGIN { while ((getline line < names) > 0) known[line] = 1 }
  /^## / { inside = $0 == "## Bounds" }
  !inside || !/^\| / || /^\| (bound|---) / { next }
  {
    ++rows
    cell = $5
    found = 0
    while (match(cell, /`[^`]+`/)) {
      name = substr(cell, RSTART + 1, RLENGTH - 2)
      cell = substr(cell, RSTART + RLENGTH)
      ++found
      if (!(name in known)) { print "docs/limits.md:" FNR ": no test is called: " name; bad = 1 }
    }
    if (!found) { print "docs/limits.md:" FNR ": no test reaches this bound:" $2; bad = 1 }
  }
  END {
    if (!rows) { print "docs/limits.md: no bounds found"; bad = 1 }
    exit bad
  }
' docs/limits.md >&2
