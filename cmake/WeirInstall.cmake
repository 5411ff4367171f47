# Installation: archives, public headers, what find_package(weir) and pkg-config need, the programs, the licence, and
# the checker for coroutines that g++ 12.2 drops, as a program and as weir_check_coroutines().
include(CMakePackageConfigHelpers)

set(WEIR_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/weir")
set(weir_installed weir_stack weir_sim weir_core weir weir_http)
if(WEIR_BUILD_RESOLVE)
  list(APPEND weir_installed weir_resolve)
endif()
if(WEIR_BUILD_TLS)
  list(APPEND weir_installed weir_tls)
endif()
install(TARGETS ${weir_installed} EXPORT weirTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY "${WEIR_STACK_DIR}/include/" "${WEIR_RUNTIME_DIR}/include/"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(EXPORT weirTargets NAMESPACE weir:: DESTINATION ${WEIR_PACKAGE_DIR})
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/weirConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake" INSTALL_DESTINATION ${WEIR_PACKAGE_DIR} PATH_VARS CMAKE_INSTALL_BINDIR)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake" DESTINATION ${WEIR_PACKAGE_DIR})
install(FILES "${PROJECT_SOURCE_DIR}/cmake/WeirCheckCoroutines.cmake" DESTINATION ${WEIR_PACKAGE_DIR})
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION ${CMAKE_INSTALL_DOCDIR})

# An awk program that names its interpreter.
file(READ "${PROJECT_SOURCE_DIR}/cmake/lint_coroutines.awk" WEIR_CHECKER)
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/weir-lint-coroutines" "#!/usr/bin/env -S awk -f\n${WEIR_CHECKER}")
install(PROGRAMS "${CMAKE_CURRENT_BINARY_DIR}/weir-lint-coroutines" DESTINATION ${CMAKE_INSTALL_BINDIR})

# For builds without CMake. The archives stand in the order in which a linker wants them.
set(WEIR_PC_REQUIRES fmt)
set(WEIR_PC_LIBS "-lweir_http -lweir")
set(WEIR_PC_DEFINES "")
if(WEIR_WITH_URING)
  list(APPEND WEIR_PC_REQUIRES "liburing >= 2.3")
endif()
if(weir_http2)
  list(APPEND WEIR_PC_REQUIRES "libnghttp2 >= 1.52")
endif()
if(weir_websocket)
  list(APPEND WEIR_PC_REQUIRES zlib)
endif()
if(WEIR_BUILD_RESOLVE)
  list(APPEND WEIR_PC_REQUIRES "ldns >= 1.8")
  string(REPLACE "-lweir_http " "-lweir_http -lweir_resolve " WEIR_PC_LIBS "${WEIR_PC_LIBS}")
endif()
if(WEIR_BUILD_TLS)
  list(APPEND WEIR_PC_REQUIRES "openssl >= 3.0")
  string(REPLACE "-lweir_http " "-lweir_http -lweir_tls " WEIR_PC_LIBS "${WEIR_PC_LIBS}")
endif()
if(WEIR_WITH_SIM)
  string(APPEND WEIR_PC_LIBS " -lweir_sim")
endif()
foreach(backend IN ITEMS URING ASIO STACK SIM)
  if(WEIR_WITH_${backend})
    string(APPEND WEIR_PC_DEFINES " -DWEIR_WITH_${backend}=1")
  endif()
endforeach()
file(RELATIVE_PATH WEIR_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")  # wherever it is installed
string(REGEX REPLACE "/$" "" WEIR_PC_UP "${WEIR_PC_UP}")
list(JOIN WEIR_PC_REQUIRES ", " WEIR_PC_REQUIRES)
configure_file("${PROJECT_SOURCE_DIR}/cmake/weir.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/weir.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/weir.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# A manual page of a program, out of its --help (package help2man; without it there are none).
find_program(WEIR_HELP2MAN help2man)
function(weir_man_page program page words)
  if(NOT TARGET ${program} OR NOT WEIR_HELP2MAN OR WEIR_SANITIZE OR CMAKE_CROSSCOMPILING)
    return()
  endif()
  set(output "${PROJECT_BINARY_DIR}/man/${page}.1")
  set(command "")
  if(NOT page STREQUAL program)
    string(REPLACE "${program}-" "" command "${page}")
  endif()
  add_custom_command(OUTPUT "${output}" VERBATIM DEPENDS ${program} "${PROJECT_SOURCE_DIR}/cmake/man_page.cmake"
    COMMAND ${CMAKE_COMMAND} -D "HELP2MAN=${WEIR_HELP2MAN}" -D "PROGRAM=$<TARGET_FILE:${program}>" -D NAME=${page}
      -D "WORDS=${words}" -D "COMMAND=${command}" -D VERSION=${PROJECT_VERSION} -D "OUTPUT=${output}"
      -P "${PROJECT_SOURCE_DIR}/cmake/man_page.cmake")
  add_custom_target(man_${page} ALL DEPENDS "${output}")
  install(FILES "${output}" DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
  if(WEIR_BUILD_TESTS)
    add_test(NAME install.manual_page_of_${page} COMMAND ${CMAKE_COMMAND} -D "PAGE=${output}" -D NAME=${page}
      -D "PROGRAM=$<TARGET_FILE:${program}>" -D "COMMAND=${command}" -P "${PROJECT_SOURCE_DIR}/tests/install/check_man_page.cmake")
    set_tests_properties(install.manual_page_of_${page} PROPERTIES TIMEOUT 60 LABELS install)
  endif()
endfunction()

# Called when every folder has been read: the programs that were asked for, and built.
function(weir_install_programs)
  if(TARGET weir-ps AND WEIR_WITH_TASKS)
    install(FILES "${WEIR_RUNTIME_DIR}/tools/weir_gdb.py" DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
  foreach(program IN ITEMS services http_server weir-probe weir-ps weir-ss weir-gate weir-bench)
    if(TARGET ${program})
      install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} OPTIONAL)
    endif()
  endforeach()
  weir_man_page(services services "the classic test servers, on any back end of weir")
  weir_man_page(http_server http_server "an HTTP server on any back end of weir")
  weir_man_page(weir-probe weir-probe "what a machine can do for weir")
  weir_man_page(weir-ps weir-ps "what every coroutine of a server waits for")
  weir_man_page(weir-ss weir-ss "what the sockets of a server are doing")
  weir_man_page(weir-gate weir-gate "a command in a network of its own, out through the host's sockets")
  weir_man_page(weir-bench weir-bench "measures servers side by side")
  weir_man_page(weir-bench weir-bench-load "puts load on any server")
endfunction()
