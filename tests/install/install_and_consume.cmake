# Installs BUILD under WORK, configures, builds and runs CONSUMER against it; any step that fails is the answer.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "," ";" launcher "${LAUNCHER}")
string(REPLACE "," ";" PROGRAMS "${PROGRAMS}")
set(prefix "${WORK}/prefix")
set(build "${WORK}/consumer-build")
file(REMOVE_RECURSE "${prefix}" "${build}")

function(step)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\nended with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

step(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${prefix}")
step(${CMAKE_COMMAND} -G "${GENERATOR}" -S "${CONSUMER}" -B "${build}" "-DCMAKE_PREFIX_PATH=${prefix}"
  "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_FLAGS=${FLAGS}" "-DWEIR_VERSION_WANTED=${VERSION}"
  "-DEXAMPLES=${EXAMPLES}" "-DLAYERS=${LAYERS}")
# One g++ drops coroutines: find_package() says so there, and nowhere else.
string(FIND "${output}" "compiles some coroutines into nothing" warned)
if(COMPILER_DROPS AND warned EQUAL -1)
  message(FATAL_ERROR "find_package(weir) says nothing of this compiler's coroutines:\n${output}")
elseif(NOT COMPILER_DROPS AND NOT warned EQUAL -1)
  message(FATAL_ERROR "find_package(weir) warns of a compiler without fault:\n${output}")
endif()
step(${CMAKE_COMMAND} --build "${build}")
step(${launcher} "${build}/consumer" --backend "${BACKEND}")
if(NOT output MATCHES "consumer: installed on ${BACKEND}")
  message(FATAL_ERROR "the program ran, but said:\n${output}")
endif()
step(${launcher} "${build}/echo" --help)
string(REPLACE "," ";" layers "${LAYERS}")
foreach(layer IN LISTS layers)
  string(REGEX REPLACE ".*:" "" example "${layer}")
  step(${launcher} "${build}/${example}" --help)
endforeach()

# The checker, as a program.
set(checker "${prefix}/${BINDIR}/weir-lint-coroutines")
step("${checker}" "${CONSUMER}/main.cpp")
execute_process(COMMAND "${checker}" "${CONSUMER}/dropped.cpp" OUTPUT_VARIABLE output RESULT_VARIABLE result)
if(result EQUAL 0 OR NOT output MATCHES "dropped.cpp:7: co_await in a condition")
  message(FATAL_ERROR "the checker ended with ${result} and said:\n${output}")
endif()

# Programs, licence, and a build that knows pkg-config only.
foreach(program IN LISTS PROGRAMS)
  if(EXISTS "${BUILD}/bin/${program}")  # each that was built
    step(${launcher} "${prefix}/${BINDIR}/${program}" --help)
  endif()
endforeach()
if(NOT EXISTS "${prefix}/${DOCDIR}/LICENSE")
  message(FATAL_ERROR "the licence was not installed")
endif()
set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig")
step(pkg-config --modversion weir)
if(NOT output STREQUAL "${VERSION}\n")
  message(FATAL_ERROR "weir.pc gives the version ${output}")
endif()
step(pkg-config --cflags --libs weir)
separate_arguments(words UNIX_COMMAND "${output} ${FLAGS}")
step(${COMPILER} -o "${build}/by_pkg_config" "${CONSUMER}/main.cpp" ${words})
step(${launcher} "${build}/by_pkg_config" --backend "${BACKEND}")
# A setting that changes the layout of coroutines, and is not weir's, is named by the linker.
math(EXPR other "1 - ${TASKS}")
execute_process(COMMAND ${COMPILER} -o "${build}/disagreeing" "${CONSUMER}/main.cpp" ${words} -DWEIR_WITH_TASKS=${other}
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
if(result EQUAL 0 OR NOT output MATCHES "weir_was_built_with")
  message(FATAL_ERROR "a program with another WEIR_WITH_TASKS linked, or not for that reason (${result}):\n${output}")
endif()

# The frame pool stands aside where only the consumer's code has a sanitizer.
if(NOT FLAGS)
  step(${CMAKE_COMMAND} --build "${build}" --target late_frame)
  execute_process(COMMAND "${build}/late_frame" --backend "${BACKEND}" OUTPUT_VARIABLE output ERROR_VARIABLE output
    RESULT_VARIABLE result)
  if(result EQUAL 0 OR NOT output MATCHES "heap-use-after-free")
    message(FATAL_ERROR "the use of a frame that had gone ended with ${result}:\n${output}")
  endif()
endif()
