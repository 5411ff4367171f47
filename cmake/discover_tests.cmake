# Runs after a test program is linked: asks it for its TEST_CASEs and writes one ctest test for each.
# In: PROGRAM, PREFIX, ARGS, DIRECTORY, TIMEOUT, SERIAL, LABELS, LAUNCHER (lists with "," between), OUTPUT.
#
# doctest's own module is not used: it can neither pass a list of labels nor tell two tests of one name.

cmake_minimum_required(VERSION 3.25)

foreach(list IN ITEMS ARGS LABELS LAUNCHER)
  string(REPLACE "," ";" ${list} "${${list}}")
endforeach()

execute_process(COMMAND ${LAUNCHER} "${PROGRAM}" --list-test-cases --no-version
  OUTPUT_VARIABLE listing ERROR_VARIABLE errors RESULT_VARIABLE result WORKING_DIRECTORY "${DIRECTORY}")
if(NOT result EQUAL 0)
  file(REMOVE "${OUTPUT}")
  message(FATAL_ERROR "${PROGRAM} could not list its tests (${result}):\n${listing}${errors}")
endif()

# Names may hold semicolons and brackets, which CMake's lists would swallow.
string(REPLACE ";" "\\;" listing "${listing}")
string(REPLACE "\n" ";" lines "${listing}")
set(script "")
set(seen "")
foreach(name IN LISTS lines)
  if(name STREQUAL "" OR name MATCHES "^=====" OR name MATCHES "^\\[doctest\\] ")
    continue()
  endif()
  if(name IN_LIST seen)
    message(FATAL_ERROR "${PROGRAM} has two tests called '${name}': one would hide the other")
  endif()
  list(APPEND seen "${name}")
  string(REPLACE "," "\\," filter "${name}")
  string(APPEND script "add_test([==[${PREFIX}${name}]==]")
  foreach(word IN LISTS LAUNCHER)
    string(APPEND script " [==[${word}]==]")
  endforeach()
  string(APPEND script " [==[${PROGRAM}]==] [==[--test-case=${filter}]==]")
  foreach(word IN LISTS ARGS)
    string(APPEND script " [==[${word}]==]")
  endforeach()
  # doctest prints its verdict last, and a sanitizer after that: neither can hide behind a SKIPPED line.
  string(APPEND script ")\nset_tests_properties([==[${PREFIX}${name}]==] PROPERTIES\n"
    "  WORKING_DIRECTORY [==[${DIRECTORY}]==] TIMEOUT ${TIMEOUT} RUN_SERIAL ${SERIAL}\n"
    "  SKIP_REGULAR_EXPRESSION [==[SKIPPED:.*Status: SUCCESS![^a-zA-Z]*$]==]\n"
    "  FAIL_REGULAR_EXPRESSION [==[test cases: +0 ]==] LABELS [==[${LABELS}]==])\n")
endforeach()
if(NOT seen)
  message(FATAL_ERROR "${PROGRAM} has no tests")
endif()
file(WRITE "${OUTPUT}" "${script}")
