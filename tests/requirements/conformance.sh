#!/bin/sh
# Makes docs/conformance.md and docs/conformance-http.md from the rows, the omissions and the tests; see conformance.awk.
#
#   conformance.sh           rewrites them
#   conformance.sh --check   fails when one is stale, or when a test names a row that does not exist
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
# page ROWS DOCUMENT: makes the document from its rows, or compares it with them.
page() {
  find tests -name '*.cpp' | sort |
    xargs awk -v page="$1" -f "$scripts/conformance.awk" tests/requirements/rows.md tests/requirements/http_rows.md \
      tests/requirements/not_done.md tests/requirements/http_not_done.md >"$made"
  case $mode in
    "")
      cp "$made" "docs/$2"
      grep '^| \*\*all' "docs/$2" | awk -F'|' -v of="docs/$2" \
        '{ print of ":" $3 "rows," $4 "tested," $5 "deliberately not done," $6 "open" }'
      ;;
    --check)
      if ! cmp -s "$made" "docs/$2"; then
        echo "docs/$2: is stale, run ./dev conformance" >&2
        exit 1
      fi
      ;;
    *)
      echo "conformance.sh: unknown argument $mode" >&2
      exit 2
      ;;
  esac
}
mode=${1:-}
page rows.md conformance.md
page http_rows.md conformance-http.md
