# How tests are made: weir_add_test() for doctest programs, one ctest test per TEST_CASE.
#
# A test that the machine forbids prints a line that starts with "SKIPPED:" and says why; ctest then reports
# it as skipped, never as passed. A test that fails an assertion fails, whatever it printed.

if(WEIR_BUILD_TESTS)
  find_package(doctest REQUIRED)
  include(doctest)
  add_library(weir_test_main STATIC "${CMAKE_CURRENT_LIST_DIR}/test_main.cpp")
  target_link_libraries(weir_test_main PUBLIC doctest::doctest PRIVATE weir_warnings)
endif()

# weir_add_test(name SOURCES file... [LIBS target...] [LABELS label...] [TIMEOUT seconds]
#               [PREFIX text] [ARGS arg...] [SERIAL])
# The tests are named <name>.<TEST_CASE>; LIBS defaults to weir::weir; private headers are in reach. SERIAL is
# for tests that must not share the machine with others.
function(weir_add_test name)
  if(NOT WEIR_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "SERIAL" "TIMEOUT;PREFIX" "SOURCES;LIBS;LABELS;ARGS" ${ARGN})
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
  set(serial FALSE)
  if(arg_SERIAL)
    set(serial TRUE)
  endif()
  # doctest prints its verdict last, so a failure after the SKIPPED line still counts as a failure.
  doctest_discover_tests(${name} TEST_PREFIX "${arg_PREFIX}" EXTRA_ARGS ${arg_ARGS}
    PROPERTIES TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${serial} LABELS "${arg_LABELS}"
      SKIP_REGULAR_EXPRESSION "SKIPPED:.*Status: SUCCESS")
endfunction()
