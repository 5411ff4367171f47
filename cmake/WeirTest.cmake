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

# weir_add_test_headers(kind LIBS target... HEADERS header...): headers that many tests take, compiled once. A folder whose
# tests take them says set(WEIR_TEST_HEADERS kind). They bring a rebuild with every change to one of them: so there are the
# standard library's and doctest's ("std", the default), the stack's facade ("stack"), the runtime's public ones ("weir").
function(weir_add_test_headers kind)
  cmake_parse_arguments(arg "" "" "LIBS;HEADERS" ${ARGN})
  set(empty "${CMAKE_CURRENT_BINARY_DIR}/weir_test_headers_${kind}.cpp")
  file(CONFIGURE OUTPUT "${empty}" CONTENT "")
  add_library(weir_test_headers_${kind} OBJECT EXCLUDE_FROM_ALL "${empty}")
  weir_compile_as_program(weir_test_headers_${kind})
  target_compile_options(weir_test_headers_${kind} PRIVATE ${weir_pch_options})
  target_link_libraries(weir_test_headers_${kind} PRIVATE ${arg_LIBS} doctest::doctest weir_warnings)
  target_precompile_headers(weir_test_headers_${kind} PRIVATE <doctest/doctest.h> <algorithm> <array> <chrono> <cstddef>
    <cstdint> <cstring> <deque> <functional> <map> <memory> <optional> <span> <string> <string_view> <system_error>
    <utility> <vector> ${arg_HEADERS})
endfunction()

# The objects of a library fit a program's precompiled headers only when they are compiled as a program's are.
function(weir_compile_as_program target)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIE)
endfunction()

# What all programs of tests see.
function(weir_compile_as_test target)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/tests")
  if(NOT WEIR_TEST_HEADERS)
    set(WEIR_TEST_HEADERS std)
  endif()
  target_compile_options(${target} PRIVATE ${weir_pch_options})
  target_precompile_headers(${target} REUSE_FROM weir_test_headers_${WEIR_TEST_HEADERS})
endfunction()

if(WEIR_BUILD_TESTS)
  weir_add_test_headers(std)
  weir_add_test_headers(stack LIBS weir_stack HEADERS <weir/stack/host.hpp>)
  weir_add_test_headers(weir LIBS weir HEADERS <weir/weir.hpp>)
  add_custom_target(weir_test_headers DEPENDS weir_test_headers_std weir_test_headers_stack weir_test_headers_weir)
endif()

# weir_add_test_objects(name SOURCES file... [LIBS target...]): what several test programs share, compiled once; a program
# takes it by naming it among its LIBS.
function(weir_add_test_objects name)
  if(NOT WEIR_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${arg_SOURCES})
  weir_compile_as_program(${name})
  weir_compile_as_test(${name})
  target_link_libraries(${name} PRIVATE weir_warnings doctest::doctest PUBLIC ${arg_LIBS})
endfunction()

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
# One program holds many files, for every program is a link: with a "@" in PREFIX the tests of each file NAME_test.cpp
# have NAME in its place. What such a file defines stands in a namespace without a name, or in a header.
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
  weir_compile_as_test(${name})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} weir_warnings weir_test_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin/tests")

  set(files "")
  if(arg_PREFIX MATCHES "@")
    set(files "${arg_SOURCES}")
    list(FILTER files INCLUDE REGEX "_test\\.cpp$")
    foreach(file IN LISTS files)  # each can be built by a name of its own
      get_filename_component(stem "${file}" NAME_WE)
      string(REGEX REPLACE "_test$" "" stem "${stem}")
      string(REPLACE "@" "${stem}" alone "${arg_PREFIX}")
      string(REGEX REPLACE "\\.$" "" alone "${alone}")
      string(REPLACE "." "_" alone "${alone}")
      add_custom_target(${alone} DEPENDS ${name})
    endforeach()
  endif()
  list(JOIN files "," files)
  list(JOIN arg_ARGS "," args)
  list(JOIN arg_LABELS "," labels)
  list(JOIN WEIR_TEST_LAUNCHER "," launcher)
  set(listed "${CMAKE_CURRENT_BINARY_DIR}/${name}_tests.cmake")
  set(include "${CMAKE_CURRENT_BINARY_DIR}/${name}_include.cmake")
  add_custom_command(TARGET ${name} POST_BUILD BYPRODUCTS "${listed}" VERBATIM
    COMMAND ${CMAKE_COMMAND} -D "PROGRAM=$<TARGET_FILE:${name}>" -D "PREFIX=${arg_PREFIX}"
      -D "FILES=${files}" -D "ARGS=${args}" -D "DIRECTORY=${CMAKE_CURRENT_BINARY_DIR}" -D "TIMEOUT=${arg_TIMEOUT}"
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
  if(NOT TARGET weir_test_allocations)
    set(WEIR_TEST_HEADERS std)
    weir_add_test_objects(weir_test_allocations SOURCES "${PROJECT_SOURCE_DIR}/tests/support/allocations.cpp")
  endif()
  target_link_libraries(${name} PRIVATE weir_test_allocations)
endfunction()
