#!/bin/sh
# Makes docs/conformance.md from the rows, the omissions and the tests; see conformance.awk.
#
#   conformance.sh           rewrites it
#   conformance.sh --check   fails when it is stale, or when a test names a row that does not exist
#
# WEIR_ROOT is another tree to work in; this script's own tests use it.
set -eu
LC_ALL=C
export LC_ALL
scripts=$(cd "$(dirname "$0")" && pwd)
cd "${WEIR_ROOT:-$scripts/../..}"
made=$(mktemp)
trap 'rm -f "$made"' EXIT

# A test that is not built proves nothing: the name of its file stands in its folder's CMake files.
find tests -name '*.cpp' | sort | while read -r file; do
  grep -q '^[[:space:]]*// covers:' "$file" || continue
  name=$(basename "$file" .cpp)
  cat "$(dirname "$file")"/CMakeLists.txt "$(dirname "$file")"/*.cmake 2>/dev/null |
    grep -qwE "$name|${name%_test}" || {
    echo "$file: covers rows, but is not built" >&2
    exit 1
  }
done
find tests -name '*.cpp' | sort |
  xargs awk -f "$scripts/conformance.awk" tests/requirements/rows.md tests/requirements/not_done.md >"$made"
case ${1:-} in
  "")
    cp "$made" docs/conformance.md
    grep '^| \*\*all' docs/conformance.md |
      awk -F'|' '{ print "docs/conformance.md:" $3 "rows," $4 "tested," $5 "deliberately not done," $6 "open" }'
    ;;
  --check)
    if ! cmp -s "$made" docs/conformance.md; then
      echo "docs/conformance.md: is stale, run ./dev conformance" >&2
      exit 1
    fi
    ;;
  *)
    echo "conformance.sh: unknown argument $1" >&2
    exit 2
    ;;
esac
