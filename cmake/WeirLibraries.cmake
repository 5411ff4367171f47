# Declares the libraries before their folders fill them with target_sources(). Arrows point one way:
# weir -> weir_core -> weir_stack -> nothing, and weir_sim beside them for the simulated network.

set(WEIR_STACK_DIR "${PROJECT_SOURCE_DIR}/stack")
set(WEIR_RUNTIME_DIR "${PROJECT_SOURCE_DIR}/runtime")

# One static library: weir_<name> inside, weir::<name> for everybody else.
function(weir_declare_library target alias)
  add_library(${target} STATIC)
  add_library(weir::${alias} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${alias})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:weir_warnings>)
endfunction()

weir_declare_library(weir_stack stack)
target_include_directories(weir_stack
  PUBLIC $<BUILD_INTERFACE:${WEIR_STACK_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
  PRIVATE "${WEIR_STACK_DIR}")

# The simulated links and hosts: apart from the stack, which must not know them.
weir_declare_library(weir_sim sim)
target_link_libraries(weir_sim PUBLIC weir_stack)
target_include_directories(weir_sim PRIVATE "${WEIR_STACK_DIR}")

# The runtime's two libraries, under the names in WEIR_CORE and WEIR_RUNTIME, with the back ends that WEIR_WITH_* choose.
# The core takes addresses, results and instants from the stack's public headers, and nothing else of it. Only where
# WEIR_BOUND says that there is one back end does it know that one's classes, and so needs the library above as well.
function(weir_declare_runtime core_alias runtime_alias)
  weir_declare_library(${WEIR_CORE} ${core_alias})
  target_link_libraries(${WEIR_CORE} PUBLIC weir_stack)
  target_include_directories(${WEIR_CORE}
    PUBLIC $<BUILD_INTERFACE:${WEIR_RUNTIME_DIR}/include>
           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE "${WEIR_RUNTIME_DIR}")
  foreach(backend IN ITEMS URING ASIO STACK SIM)
    if(WEIR_WITH_${backend})
      target_compile_definitions(${WEIR_CORE} PUBLIC WEIR_WITH_${backend}=1)
    endif()
  endforeach()
  if(WEIR_BOUND)
    target_compile_definitions(${WEIR_CORE} PUBLIC WEIR_BOUND=1)
    target_include_directories(${WEIR_CORE} PRIVATE "${WEIR_STACK_DIR}")
    target_link_libraries(${WEIR_CORE} PRIVATE ${WEIR_RUNTIME})
  endif()

  weir_declare_library(${WEIR_RUNTIME} ${runtime_alias})
  target_link_libraries(${WEIR_RUNTIME}
    PUBLIC ${WEIR_CORE} weir_stack Threads::Threads
    PRIVATE fmt::fmt $<BUILD_INTERFACE:tomlplusplus::tomlplusplus> $<BUILD_INTERFACE:CLI11::CLI11>
            $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
  target_include_directories(${WEIR_RUNTIME} SYSTEM PRIVATE "${WEIR_LLHTTP_INCLUDE}")
  target_sources(${WEIR_RUNTIME} PRIVATE $<TARGET_OBJECTS:weir_llhttp>)
  target_include_directories(${WEIR_RUNTIME} PRIVATE "${WEIR_RUNTIME_DIR}" "${WEIR_STACK_DIR}")
  set(of_drivers ${WEIR_RUNTIME})
  if(WEIR_BOUND)
    list(APPEND of_drivers ${WEIR_CORE})
  endif()
  foreach(target IN LISTS of_drivers)
    if(WEIR_WITH_URING)
      target_link_libraries(${target} PRIVATE PkgConfig::LIBURING)
    endif()
    if(WEIR_WITH_ASIO)
      target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:weir_asio>)
    endif()
  endforeach()
  if(WEIR_WITH_SIM)
    target_link_libraries(${WEIR_RUNTIME} PUBLIC weir_sim)
  endif()
endfunction()

set(WEIR_CORE weir_core)
set(WEIR_RUNTIME weir)
weir_declare_runtime(core weir)

# The runtime once more, as WEIR_BACKENDS=<backend> alone would make it: weir_core_<backend> and weir_<backend>. It is not
# installed; weir-bench and the tests hold it against the one above. To be called where its targets shall live.
function(weir_add_bound_runtime backend)
  foreach(other IN ITEMS uring asio sim stack)
    string(TOUPPER ${other} upper)
    string(COMPARE EQUAL ${other} ${backend} WEIR_WITH_${upper})
  endforeach()
  set(WEIR_BOUND ON)
  set(WEIR_BUILD_TOOLS OFF)
  set(WEIR_CORE weir_core_${backend})
  set(WEIR_RUNTIME weir_${backend})
  weir_declare_runtime(core_${backend} weir_${backend})
  add_subdirectory("${WEIR_RUNTIME_DIR}" "${PROJECT_BINARY_DIR}/runtime_${backend}")
endfunction()

# For tests and benches that look behind the public headers: "wire/ipv4.hpp", "driver/driver.hpp".
add_library(weir_internal INTERFACE)
target_include_directories(weir_internal INTERFACE "${WEIR_STACK_DIR}" "${WEIR_RUNTIME_DIR}")
target_link_libraries(weir_internal INTERFACE weir fmt::fmt)
if(WEIR_WITH_URING)
  target_link_libraries(weir_internal INTERFACE PkgConfig::LIBURING)
endif()

# HTTP requests and responses without I/O ("http/wire/..."), for examples/http_server,
# which would otherwise write them again. The code itself is in weir's archive.
add_library(weir_http INTERFACE)
target_include_directories(weir_http INTERFACE "${WEIR_RUNTIME_DIR}")
target_include_directories(weir_http SYSTEM INTERFACE "${WEIR_LLHTTP_INCLUDE}")
target_link_libraries(weir_http INTERFACE weir)

# A library whose folders bring no source of their own (headers only, or left out by WEIR_BACKENDS) still
# has to be an archive.
function(weir_finish_libraries)
  foreach(target IN ITEMS weir_stack weir_sim weir_core weir)
    get_target_property(sources ${target} SOURCES)
    if(NOT sources)
      set(empty "${CMAKE_CURRENT_BINARY_DIR}/${target}_empty.cpp")
      file(GENERATE OUTPUT "${empty}" CONTENT "namespace weir::detail { extern const int ${target}_empty; }\n")
      target_sources(${target} PRIVATE "${empty}")
    endif()
  endforeach()
endfunction()
