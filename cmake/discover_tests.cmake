# Runs after a test program is linked: asks it for its TEST_CASEs and writes one ctest test for each.
# In: PROGRAM, PREFIX, FILES, ARGS, DIRECTORY, TIMEOUT, SERIAL, LABELS, LAUNCHER (lists with "," between), OUTPUT.
#
# doctest's own module is not used: it can neither pass a list of labels nor tell two tests of one name.

cmake_minimum_required(VERSION 3.25)

foreach(list IN ITEMS FILES ARGS LABELS LAUNCHER)
  string(REPLACE "," ";" ${list} "${${list}}")
endforeach()
set(script "")
set(seen "")

# Adds the tests that the program lists with these further arguments, their names after this prefix.
function(add_listed prefix)
  execute_process(COMMAND ${LAUNCHER} "${PROGRAM}" --list-test-cases --no-version ${ARGN}
    OUTPUT_VARIABLE listing ERROR_VARIABLE errors RESULT_VARIABLE result WORKING_DIRECTORY "${DIRECTORY}")
  if(NOT result EQUAL 0)
    file(REMOVE "${OUTPUT}")
    message(FATAL_ERROR "${PROGRAM} could not list its tests (${result}):\n${listing}${errors}")
  endif()
  # Names may hold semicolons and brackets, which CMake's lists would swallow.
  string(REPLACE ";" "\\;" listing "${listing}")
  string(REPLACE "\n" ";" lines "${listing}")
  set(count 0)
  foreach(name IN LISTS lines)
    if(name STREQUAL "" OR name MATCHES "^=====" OR name MATCHES "^\\[doctest\\] ")
      continue()
    endif()
    set(test "${prefix}${name}")
    if(test IN_LIST seen)
      message(FATAL_ERROR "${PROGRAM} has two tests called '${test}': one would hide the other")
    endif()
    list(APPEND seen "${test}")
    math(EXPR count "${count} + 1")
    string(REPLACE "," "\\," filter "${name}")
    string(APPEND script "add_test([==[${test}]==]")
    foreach(word IN LISTS LAUNCHER)
      string(APPEND script " [==[${word}]==]")
    endforeach()
    string(APPEND script " [==[${PROGRAM}]==] [==[--test-case=${filter}]==]")
    foreach(word IN LISTS ARGN ARGS)
      string(APPEND script " [==[${word}]==]")
    endforeach()
    # doctest prints its verdict last, and a sanitizer after that: neither can hide behind a SKIPPED line.
    string(APPEND script ")\nset_tests_properties([==[${test}]==] PROPERTIES\n"
      "  WORKING_DIRECTORY [==[${DIRECTORY}]==] TIMEOUT ${TIMEOUT} RUN_SERIAL ${SERIAL}\n"
      "  SKIP_REGULAR_EXPRESSION [==[SKIPPED:.*Status: SUCCESS![^a-zA-Z]*$]==]\n"
      "  FAIL_REGULAR_EXPRESSION [==[test cases: +0 ]==] LABELS [==[${LABELS}]==])\n")
  endforeach()
  if(count EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} ${ARGN} has no tests")
  endif()
  set(script "${script}" PARENT_SCOPE)
  set(seen "${seen}" PARENT_SCOPE)
endfunction()

if(NOT FILES)
  add_listed("${PREFIX}")
endif()
foreach(file IN LISTS FILES)
  get_filename_component(stem "${file}" NAME_WE)
  string(REGEX REPLACE "_test$" "" stem "${stem}")
  string(REPLACE "@" "${stem}" prefix "${PREFIX}")
  add_listed("${prefix}" "--source-file=*/${stem}_test.cpp")
endforeach()
file(WRITE "${OUTPUT}" "${script}")
