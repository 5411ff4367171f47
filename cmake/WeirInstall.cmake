# Installation: archives, public headers, and what find_package(weir) needs.
include(CMakePackageConfigHelpers)

set(WEIR_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/weir")
set(weir_installed weir_stack weir_sim weir_core weir weir_http)
if(WEIR_BUILD_RESOLVE)
  list(APPEND weir_installed weir_resolve)
endif()
install(TARGETS ${weir_installed} EXPORT weirTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY "${WEIR_STACK_DIR}/include/" "${WEIR_RUNTIME_DIR}/include/"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(EXPORT weirTargets NAMESPACE weir:: DESTINATION ${WEIR_PACKAGE_DIR})
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/weirConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake" INSTALL_DESTINATION ${WEIR_PACKAGE_DIR})
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake" DESTINATION ${WEIR_PACKAGE_DIR})
