# How everything is compiled: the language, warnings as errors, sanitizers, ccache, where programs land.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(WEIR_TOP_LEVEL)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
  if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "build type" FORCE)
  endif()
endif()

find_program(WEIR_CCACHE ccache)
if(WEIR_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${WEIR_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${WEIR_CCACHE}")
endif()

# Colours survive ninja's and ccache's pipes only when asked for.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Nobody replaces one of weir's functions by preloading another; without the promise none is inlined into its neighbours,
  # as the code is position-independent. clang takes it for granted.
  add_compile_options(-fdiagnostics-color=auto -fno-semantic-interposition)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    # What is cleared on the way of a packet is a few cache lines: "rep stos", which g++ takes for them, is microcode that
    # costs more than the stores do. clang stores as well.
    add_compile_options(-mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign)
  endif()
endif()

add_library(weir_warnings INTERFACE)
target_compile_options(weir_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Werror
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
  $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>)

# Sanitizers are for the whole build: a program that mixes instrumented and plain code reports falsehoods.
if(WEIR_SANITIZE)
  list(JOIN WEIR_SANITIZE "," weir_sanitize_list)
  add_compile_options(-fsanitize=${weir_sanitize_list} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${weir_sanitize_list})
  if("undefined" IN_LIST WEIR_SANITIZE)
    # The check of dynamic types opens a pipe to look at memory: where a test has used up every descriptor it takes sound
    # objects for broken ones.
    add_compile_options(-fno-sanitize=vptr)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12's flow analysis misjudges instrumented code; the plain builds keep these warnings.
    target_compile_options(weir_warnings INTERFACE -Wno-maybe-uninitialized -Wno-tsan)
  endif()
endif()

# weir_precompile(target [header...]): the standard library's headers that most units take, compiled once for the target,
# and further ones, of which each change rebuilds the target. It saves a second for each unit, of two.
# (clang writes times into precompiled headers, from which ccache cannot know one again.)
set(weir_pch_options $<$<COMPILE_LANG_AND_ID:CXX,Clang>:SHELL:-Xclang -fno-pch-timestamp>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 takes sums of strings for overruns (its bug 105651), and with precompiled headers in more places.
  list(APPEND weir_pch_options -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
endif()
function(weir_precompile target)
  if(NOT WEIR_PRECOMPILE)
    return()
  endif()
  target_compile_options(${target} PRIVATE ${weir_pch_options})
  target_precompile_headers(${target} PRIVATE <algorithm> <array> <atomic> <chrono> <coroutine> <cstddef> <cstdint> <cstring>
    <deque> <exception> <functional> <map> <memory> <mutex> <optional> <span> <string> <string_view> <system_error> <thread>
    <utility> <variant> <vector> ${ARGN})
endfunction()
