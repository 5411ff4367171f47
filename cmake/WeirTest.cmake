# How tests are made: weir_add_test() for doctest programs, one ctest test per TEST_CASE.
#
# A test that the machine forbids prints a line that starts with "SKIPPED:" and says why; ctest then reports
# it as skipped, never as passed. A test that fails an assertion fails, whatever it printed.

if(WEIR_BUILD_TESTS)
  find_package(doctest REQUIRED)
  add_library(weir_test_main STATIC "${CMAKE_CURRENT_LIST_DIR}/test_main.cpp")
  target_link_libraries(weir_test_main PUBLIC doctest::doctest PRIVATE weir_warnings)
endif()
set(WEIR_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

# g++'s thread sanitizer knows fewer address layouts than today's kernels choose from; without randomization
# it always finds its own. (clang's starts itself again in that way.)
set(WEIR_TEST_LAUNCHER "")
if("thread" IN_LIST WEIR_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  execute_process(COMMAND setarch -R true RESULT_VARIABLE setarch_result OUTPUT_QUIET ERROR_QUIET)
  if(setarch_result EQUAL 0)  # some containers forbid it
    set(WEIR_TEST_LAUNCHER setarch -R)
  endif()
endif()

# weir_add_test(name SOURCES file... [LIBS target...] [LABELS label...] [TIMEOUT seconds]
#               [PREFIX text] [ARGS arg...] [SERIAL])
# The ctest names are <name>.<TEST_CASE> (PREFIX replaces "<name>."); LIBS defaults to weir::weir; private
# headers are in reach, <doctest/doctest.h> too, main() is supplied. ARGS go to the program. SERIAL is for tests
# that must have the machine to themselves. TIMEOUT is per TEST_CASE, 60 by default, and grows with sanitizers.
function(weir_add_test name)
  if(NOT WEIR_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "SERIAL" "TIMEOUT;PREFIX" "SOURCES;LIBS;LABELS;ARGS" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "weir_add_test(${name}): needs SOURCES, does not know '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_LIBS)
    set(arg_LIBS weir::weir)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(WEIR_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 4")
  endif()
  if(NOT DEFINED arg_PREFIX)
    set(arg_PREFIX "${name}.")
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${WEIR_STACK_DIR}" "${WEIR_RUNTIME_DIR}"
    "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${arg_LIBS} weir_warnings weir_test_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin/tests")

  list(JOIN arg_ARGS "," args)
  list(JOIN arg_LABELS "," labels)
  list(JOIN WEIR_TEST_LAUNCHER "," launcher)
  set(listed "${CMAKE_CURRENT_BINARY_DIR}/${name}_tests.cmake")
  set(include "${CMAKE_CURRENT_BINARY_DIR}/${name}_include.cmake")
  add_custom_command(TARGET ${name} POST_BUILD BYPRODUCTS "${listed}" VERBATIM
    COMMAND ${CMAKE_COMMAND} -D "PROGRAM=$<TARGET_FILE:${name}>" -D "PREFIX=${arg_PREFIX}"
      -D "ARGS=${args}" -D "DIRECTORY=${CMAKE_CURRENT_BINARY_DIR}" -D "TIMEOUT=${arg_TIMEOUT}"
      -D "SERIAL=${arg_SERIAL}" -D "LABELS=${labels}" -D "LAUNCHER=${launcher}" -D "OUTPUT=${listed}"
      -P "${WEIR_CMAKE_DIR}/discover_tests.cmake")
  # A program that was not built is a test that fails, not one that is missing.
  file(WRITE "${include}" "if(EXISTS \"${listed}\")\n  include(\"${listed}\")\nelse()\n"
    "  add_test(${name}.is_built ${name}-was-not-built)\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include}")
endfunction()

# weir_add_allocation_test(...): weir_add_test() for a program that counts what it takes from the heap
# (support/allocations.hpp). It replaces operator new, which a sanitizer claims for itself: built without one.
function(weir_add_allocation_test name)
  if(NOT WEIR_BUILD_TESTS OR WEIR_SANITIZE)
    return()
  endif()
  weir_add_test(${name} ${ARGN})
  target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/allocations.cpp")
endfunction()
