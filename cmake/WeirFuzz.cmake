# How fuzz targets are made. A target is one source with LLVMFuzzerTestOneInput and a folder of inputs.
#
# With WEIR_BUILD_FUZZ (clang) it becomes a libFuzzer program in bin/fuzz. In every other build the same source is
# linked with a small driver and becomes a test: the kept inputs and a fixed number of seeded mutations of them.

# weir_add_fuzzer(name SOURCES file... [LIBS target...] [CORPUS folder] [MUTATIONS n])
# MUTATIONS is how many the test tries, 20000 by default: fewer where one input is a whole conversation.
# CORPUS is relative to the calling folder; without one the mutations start from an empty input.
function(weir_add_fuzzer name)
  cmake_parse_arguments(arg "" "CORPUS;MUTATIONS" "SOURCES;LIBS" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "weir_add_fuzzer(${name}): needs SOURCES, does not know '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_LIBS)
    set(arg_LIBS weir::stack)
  endif()
  if(NOT arg_MUTATIONS)
    set(arg_MUTATIONS 20000)
  endif()
  set(corpus "")
  if(arg_CORPUS)
    get_filename_component(corpus "${arg_CORPUS}" ABSOLUTE)
    if(NOT IS_DIRECTORY "${corpus}")
      message(FATAL_ERROR "weir_add_fuzzer(${name}): no folder ${corpus}")
    endif()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}"
    "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${arg_LIBS} weir_warnings)
  if(WEIR_BUILD_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin/fuzz")
    # ./dev fuzz reads from here where each program's kept inputs are.
    file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/fuzz/${name}.corpus" CONTENT "${corpus}\n")
  elseif(WEIR_BUILD_TESTS)
    if(NOT TARGET weir_fuzz_replay)
      add_library(weir_fuzz_replay OBJECT EXCLUDE_FROM_ALL "${WEIR_CMAKE_DIR}/fuzz_replay.cpp")
      target_link_libraries(weir_fuzz_replay PRIVATE weir_warnings)
    endif()
    target_link_libraries(${name} PRIVATE weir_fuzz_replay)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin/tests")
    add_test(NAME fuzz.${name}.kept_and_mutated_inputs_do_no_harm
      COMMAND ${WEIR_TEST_LAUNCHER} $<TARGET_FILE:${name}> ${arg_MUTATIONS} ${corpus})
    set_tests_properties(fuzz.${name}.kept_and_mutated_inputs_do_no_harm PROPERTIES
      TIMEOUT 240 LABELS fuzz)
  endif()
endfunction()
