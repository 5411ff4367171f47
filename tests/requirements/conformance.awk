# Writes a page of docs/ from the rows and omissions of all pages and the tests that conformance.sh lists, in this order;
# `page` is the name of the rows' file that is written of. Anything wrong - an unknown row, a "covers:" above no test, a
# row both tested and not done - goes to stderr and ends with 1.
# Plain awk: mawk, gawk and busybox run it.

function complain(where, what) {
  printf "%s: %s\n", where, what > "/dev/stderr"
  wrong = 1
}
function trim(text) {
  gsub(/^[ \t]+|[ \t]+$/, "", text)
  return text
}
# The level is the first word of a requirement ("v6:" and a short title may stand before it), or the id's own.
function level_of(id, text, words, n, i) {
  if (id ~ /^MUST-/) return "must"
  if (id ~ /^SHLD-/) return "should"
  if (id ~ /^REC-/) return "recommended"
  if (id ~ /^b[0-9]/) return ""
  n = split(text, words, " ")
  for (i = 1; i <= n && i <= 2; ++i) {
    if (words[i] ~ /^(M|MN|M:)$/) return words[i] == "MN" ? "must not" : "must"
    if (words[i] == "S") return "should"
    if (words[i] == "SN") return "should not"
    if (words[i] == "R") return "recommended"
    if (words[i] == "i") return "advice"
    if (words[i] ~ /^MAY/) return "may"
    if (words[i] !~ /:$/) break
  }
  return "rule"
}
function prove(row, test) {
  if ((row, test) in proven) return
  proven[row, test] = 1
  if (row in tests) tests[row] = tests[row] "<br>" test
  else tests[row] = test
}
# A test of this name stands at `where`: it proves the rows that wait.
function attach(name, i, path, shown) {
  path = FILENAME
  shown = path
  sub(/^tests\//, "", shown)
  sub(/\.cpp$/, "", shown)
  gsub(/\\"/, "\"", name)
  gsub(/\|/, "\\|", name)
  for (i = 1; i <= waiting; ++i) prove(wait[i], "[" shown "](../" path ") " name)
  waiting = 0
  in_name = 0
}

FNR == 1 {
  if (waiting) complain(last_covers, "covers: stands above no test")
  waiting = in_name = 0
  kind = FILENAME ~ /rows\.md$/ ? "rows" : FILENAME ~ /not_done\.md$/ ? "not done" : "test"
}

kind == "rows" && /^##+ / {
  title = $0
  sub(/^#+ /, "", title)
  if (/^## /) part = title
  if (/^## / && FILENAME ~ "/" page "$") parts[++part_count] = title
  next
}
kind == "rows" && /^\| *[^ |]+ *\|/ && !/^\| *(id|-)/ {
  split($0, cell, "|")
  id = trim(cell[2])
  if (id in known) complain(FILENAME ":" FNR, "row " id " stands here twice")
  known[id] = 1
  if (FILENAME !~ "/" page "$") next
  row_id[++row_count] = id
  row_part[id] = part
  text = trim(cell[3])
  level[id] = level_of(id, text)
  sub(/^(M|MN|S|SN|R|i) /, "", text)
  requirement[id] = text
  next
}
kind == "not done" && /^\| *[^ |]+ *\|/ && !/^\| *(row|-)/ {
  split($0, cell, "|")
  id = trim(cell[2])
  if (!(id in known)) complain(FILENAME ":" FNR, "no row is called " id)
  if (id in reason) complain(FILENAME ":" FNR, "row " id " stands here twice")
  reason[id] = trim(cell[3])
  not_done_in[id] = FILENAME
  if (reason[id] == "") complain(FILENAME ":" FNR, "no reason for " id)
  next
}
kind != "test" { next }

/^[ \t]*\/\/ covers:/ {
  list = $0
  sub(/^[ \t]*\/\/ covers:/, "", list)
  last_covers = FILENAME ":" FNR
  n = split(list, ids, ",")
  for (i = 1; i <= n; ++i) {
    id = trim(ids[i])
    if (id == "") complain(last_covers, "an empty name; a further line begins with covers: too")
    else if (!(id in known)) complain(last_covers, "no row is called " id)
    else wait[++waiting] = id
  }
  next
}
waiting && in_name && match($0, /"([^"\\]|\\.)*"/) {
  attach(substr($0, RSTART + 1, RLENGTH - 2))
  next
}
waiting && /^[ \t]*\/\// { next }
waiting && /^(TEST_CASE|CONFORMANCE|[A-Z_]*SCENARIO)[A-Z_]*\(/ {
  if (/doctest::(skip|may_fail|should_fail|expected_failures)/)
    complain(FILENAME ":" FNR, "a test that may fail proves nothing")
  if (match($0, /"([^"\\]|\\.)*"/)) attach(substr($0, RSTART + 1, RLENGTH - 2))
  else if (match($0, /\([A-Za-z_0-9]+/)) attach(substr($0, RSTART + 1, RLENGTH - 1))
  else in_name = 1
  next
}
waiting {
  complain(last_covers, "covers: stands above no test")
  waiting = in_name = 0
}

function state_of(id) {
  return id in tests ? "tested" : id in reason ? "deliberately not done" : "open"
}
function print_counts(title, counts) {
  printf "| %s | %d | %d | %d | %d |\n", title, counts["all"], counts["tested"],
    counts["deliberately not done"], counts["open"]
}
END {
  if (waiting) complain(last_covers, "covers: stands above no test")
  if (row_count == 0) complain(page, "holds no rows")
  for (id in reason) if (id in tests) complain(not_done_in[id], id " is tested, so it is done")
  if (wrong) exit 1
  for (i = 1; i <= row_count; ++i) {
    id = row_id[i]
    ++count[row_part[id], state_of(id)]
    ++count[row_part[id], "all"]
    ++total[state_of(id)]
    ++total["all"]
  }
  print "# Conformance" (page == "rows.md" ? "" : " of HTTP/2 and WebSocket")
  print ""
  print "Each row of [tests/requirements/" page "](../tests/requirements/" page ") and the tests that prove it. Made by"
  print "`./dev conformance` from the tests themselves: do not edit. The tests run in CI, so a row that says *tested* has"
  print "tests that pass."
  print ""
  print "| part | rows | tested | deliberately not done | open |"
  print "|---|---|---|---|---|"
  for (p = 1; p <= part_count; ++p) {
    if (!((parts[p], "all") in count)) continue
    one["all"] = count[parts[p], "all"]
    one["tested"] = count[parts[p], "tested"]
    one["deliberately not done"] = count[parts[p], "deliberately not done"]
    one["open"] = count[parts[p], "open"]
    print_counts(parts[p], one)
  }
  print_counts("**all**", total)
  part = ""
  for (i = 1; i <= row_count; ++i) {
    id = row_id[i]
    if (row_part[id] != part) {
      part = row_part[id]
      printf "\n## %s\n\n| row | requirement | level | state | tests, or why not |\n|---|---|---|---|---|\n", part
    }
    state = state_of(id)
    printf "| %s | %s | %s | %s | %s |\n", id, requirement[id], level[id], state,
      id in tests ? tests[id] : id in reason ? reason[id] : ""
  }
}
