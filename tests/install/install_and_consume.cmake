# Installs BUILD under WORK, configures, builds and runs CONSUMER against it; any step that fails is the answer.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "," ";" launcher "${LAUNCHER}")
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
  "-DECHO=${ECHO}")
step(${CMAKE_COMMAND} --build "${build}")
step(${launcher} "${build}/consumer" --backend "${BACKEND}")
if(NOT output MATCHES "consumer: installed on ${BACKEND}")
  message(FATAL_ERROR "the program ran, but said:\n${output}")
endif()
step(${launcher} "${build}/echo" --help)
