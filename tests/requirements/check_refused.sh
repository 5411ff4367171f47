#!/bin/sh
# conformance.sh's own test: in a small tree of its own it writes the right table, and names each kind of mistake.
set -eu
script=$(cd "$(dirname "$0")" && pwd)/conformance.sh
WEIR_ROOT=$(mktemp -d)
export WEIR_ROOT
trap 'rm -rf "$WEIR_ROOT"' EXIT
cd "$WEIR_ROOT"
mkdir -p docs tests/requirements tests/packet
failed=0

fail() {
  echo "FAILED: $1" >&2
  failed=1
}
# The tree as it should be; each case then breaks one thing.
tree() {
  rm -f docs/*
  printf '## Web\n\n| id | requirement |\n|---|---|\n| 88-1 | M fifth |\n' >tests/requirements/http_rows.md
  printf '| row | why |\n|---|---|\n' >tests/requirements/http_not_done.md
  cat >tests/requirements/rows.md <<'END'
## Part one

| id | requirement | source | obs |
|---|---|---|---|
| MUST-1 | first | 3.1 | W |
| 77-1 | S second | 3.2 | W |
| 77-2 | v6: MN third | 3.2 | W |

## Part two

| id | behaviour |
|---|---|
| b1 | fourth |
END
  cat >tests/requirements/not_done.md <<'END'
| row | why |
|---|---|
| 77-2 | for a reason |
END
  cat >tests/packet/some_test.cpp <<'END'
// covers: MUST-1, b1
// Why this is so.
TEST_CASE("a sentence") {}
// covers: b1
TEST_CASE(
    "another, \"quoted\"") {}
// covers: b1
CONFORMANCE(a_name);
END
  echo 'weir_add_test(some_test SOURCES some_test.cpp)' >tests/packet/CMakeLists.txt
}
# refused TEXT: the script ends with an error that says so.
refused() {
  if sh "$script" ${2:-} >out 2>&1; then
    fail "accepted, though: $1"
  elif ! grep -qF -- "$1" out; then
    fail "does not say: $1"
    cat out >&2
  fi
}
has() { grep -qxF -- "$1" docs/conformance.md || fail "the table lacks: $1"; }

tree
sh "$script" >/dev/null || fail "refused a good tree"
sh "$script" --check || fail "stale right after it was made"
has '| **all** | 4 | 2 | 1 | 1 |'
has '| Part two | 1 | 1 | 0 | 0 |'
has '| MUST-1 | first | must | tested | [packet/some_test](../tests/packet/some_test.cpp) a sentence |'
has '| 77-1 | second | should | open |  |'
has '| 77-2 | v6: MN third | must not | deliberately not done | for a reason |'
grep -qF 'another, "quoted"<br>[packet/some_test](../tests/packet/some_test.cpp) a_name |' \
  docs/conformance.md || fail "three tests of one row"

grep -qxF '| 88-1 | fifth | must | open |  |' docs/conformance-http.md || fail "the other page's row"
grep -q 88-1 docs/conformance.md && fail "a row stands on the wrong page"

echo '// covers: 77-1
TEST_CASE("new") {}' >>tests/packet/some_test.cpp
refused 'conformance.md: is stale' --check
tree
sh "$script" >/dev/null
echo '// covers: 88-1
TEST_CASE("new") {}' >>tests/packet/some_test.cpp
refused 'conformance-http.md: is stale' --check
tree
echo '// covers: MUST-2
TEST_CASE("new") {}' >>tests/packet/some_test.cpp
refused 'some_test.cpp:9: no row is called MUST-2'
tree
echo '// covers: 77-1
int not_a_test;' >>tests/packet/some_test.cpp
refused 'some_test.cpp:9: covers: stands above no test'
tree
echo '// covers: 77-1' >>tests/packet/some_test.cpp
refused 'some_test.cpp:9: covers: stands above no test'
tree
echo '// covers: 77-2
TEST_CASE("new") {}' >>tests/packet/some_test.cpp
refused '77-2 is tested, so it is done'
tree
echo '// covers: 77-1,
// MUST-1
TEST_CASE("new") {}' >>tests/packet/some_test.cpp
refused 'an empty name'
tree
echo '// covers: 77-1
TEST_CASE("new" * doctest::may_fail()) {}' >>tests/packet/some_test.cpp
refused 'a test that may fail proves nothing'
tree
echo '| 77-9 | a reason |' >>tests/requirements/not_done.md
refused 'not_done.md:4: no row is called 77-9'
tree
echo '| 77-1 | |' >>tests/requirements/not_done.md
refused 'no reason for 77-1'
tree
echo 'weir_add_test(something_test)' >tests/packet/CMakeLists.txt
refused 'some_test.cpp: covers rows, but is not built'
exit $failed
