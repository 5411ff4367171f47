# weir_check_coroutines(target): looks for coroutines in the target's C++ sources that g++ 12.2 compiles into nothing,
# each time that it is built, and fails with their lines. It needs awk, and nothing of the compiler.
function(weir_check_coroutines target)
  find_program(WEIR_LINT_COROUTINES weir-lint-coroutines HINTS "${weir_PROGRAM_DIR}" REQUIRED)
  get_target_property(sources ${target} SOURCES)
  get_target_property(folder ${target} SOURCE_DIR)
  list(FILTER sources INCLUDE REGEX "\\.(cpp|cc|cxx|hpp|hh|h)$")
  add_custom_target(${target}_coroutines VERBATIM WORKING_DIRECTORY "${folder}"
    COMMAND "${WEIR_LINT_COROUTINES}" ${sources})
  add_dependencies(${target} ${target}_coroutines)
endfunction()
