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
endfunction()
