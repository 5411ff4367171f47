# Declares the libraries before their folders fill them with target_sources(). Arrows point one way:
# weir -> weir_core -> weir_stack -> nothing, and weir_sim beside them for the simulated network.

set(WEIR_STACK_DIR "${PROJECT_SOURCE_DIR}/stack")
set(WEIR_RUNTIME_DIR "${PROJECT_SOURCE_DIR}/runtime")

# One static library: weir_<name> inside, weir::<name> for everybody else. Further words are headers to precompile.
function(weir_declare_library target alias)
  add_library(${target} STATIC)
  add_library(weir::${alias} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${alias})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:weir_warnings>)
  weir_precompile(${target} ${ARGN})
endfunction()

weir_declare_library(weir_stack stack)
target_include_directories(weir_stack
  PUBLIC $<BUILD_INTERFACE:${WEIR_STACK_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
  PRIVATE "${PROJECT_SOURCE_DIR}")

# The simulated links and hosts: apart from the stack, which must not know them.
weir_declare_library(weir_sim sim)
target_link_libraries(weir_sim PUBLIC weir_stack)
target_include_directories(weir_sim PRIVATE "${PROJECT_SOURCE_DIR}")

# The runtime's two libraries. The core takes addresses, results and instants from the stack's public headers, the probes
# of stack/base, and nothing else of it; the back ends that WEIR_WITH_* choose are in weir.
weir_declare_library(weir_core core)
target_link_libraries(weir_core PUBLIC weir_stack)
target_include_directories(weir_core
  PUBLIC $<BUILD_INTERFACE:${WEIR_RUNTIME_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
  PRIVATE "${PROJECT_SOURCE_DIR}")
foreach(backend IN ITEMS URING ASIO STACK SIM)
  if(WEIR_WITH_${backend})
    target_compile_definitions(weir_core PUBLIC WEIR_WITH_${backend}=1)
  endif()
endforeach()

# It changes what a coroutine's frame holds: whoever includes the headers has to agree.
target_compile_definitions(weir_core PUBLIC WEIR_WITH_TASKS=$<BOOL:${WEIR_WITH_TASKS}>)

weir_declare_library(weir weir)
target_link_libraries(weir
  PUBLIC weir_core weir_stack Threads::Threads
  PRIVATE fmt::fmt $<BUILD_INTERFACE:tomlplusplus::tomlplusplus> $<BUILD_INTERFACE:CLI11::CLI11>
          $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
target_include_directories(weir SYSTEM PRIVATE "${WEIR_LLHTTP_INCLUDE}")
target_sources(weir PRIVATE $<TARGET_OBJECTS:weir_llhttp>)
target_include_directories(weir PRIVATE "${PROJECT_SOURCE_DIR}")
if(WEIR_WITH_URING)
  target_link_libraries(weir PRIVATE PkgConfig::LIBURING)
endif()
if(WEIR_WITH_ASIO)
  target_link_libraries(weir PRIVATE $<BUILD_INTERFACE:weir_asio>)
endif()
if(WEIR_WITH_SIM)
  target_link_libraries(weir PUBLIC weir_sim)
endif()

# No header of the installed ones has a probe.
foreach(target IN ITEMS weir_stack weir_core weir)
  target_compile_definitions(${target} PRIVATE WEIR_WITH_PROBES=$<BOOL:${weir_probes}>)
endforeach()

# For tests and benches that look behind the public headers: "wire/ipv4.hpp", "driver/driver.hpp".
add_library(weir_internal INTERFACE)
target_include_directories(weir_internal INTERFACE "${PROJECT_SOURCE_DIR}")
target_link_libraries(weir_internal INTERFACE weir fmt::fmt)
if(WEIR_WITH_URING)
  target_link_libraries(weir_internal INTERFACE PkgConfig::LIBURING)
endif()

# HTTP without I/O ("http/wire/..."), for tests. The code itself is in weir's archive: the admin endpoint speaks it.
add_library(weir_http_wire INTERFACE)
target_include_directories(weir_http_wire INTERFACE "${PROJECT_SOURCE_DIR}")
target_include_directories(weir_http_wire SYSTEM INTERFACE "${WEIR_LLHTTP_INCLUDE}")
target_link_libraries(weir_http_wire INTERFACE weir)

# HTTP as a layer on streams: server, client, WebSocket. It knows the runtime's public headers, and HTTP without I/O.
weir_declare_library(weir_http http <weir/weir.hpp>)
target_link_libraries(weir_http PUBLIC weir PRIVATE fmt::fmt)
target_include_directories(weir_http PRIVATE "${PROJECT_SOURCE_DIR}")
target_include_directories(weir_http SYSTEM PRIVATE "${WEIR_LLHTTP_INCLUDE}")

# Names as a layer on sockets. Its inside ("resolve/message.hpp") is for its own tests.
if(WEIR_BUILD_RESOLVE)
  weir_declare_library(weir_resolve resolve <weir/weir.hpp>)
  target_link_libraries(weir_resolve PUBLIC weir PRIVATE PkgConfig::LDNS)
  target_include_directories(weir_resolve PRIVATE "${PROJECT_SOURCE_DIR}")
endif()

# TLS as a layer on streams: it knows the runtime's public headers, and what every layer does alike (core/sockets).
if(WEIR_BUILD_TLS)
  weir_declare_library(weir_tls tls <weir/weir.hpp>)
  target_link_libraries(weir_tls PUBLIC weir PRIVATE OpenSSL::SSL)
  target_include_directories(weir_tls PRIVATE "${PROJECT_SOURCE_DIR}")
endif()

# A library whose folders bring no source of their own (headers only, or left out by WEIR_BACKENDS) still
# has to be an archive.
function(weir_finish_libraries)
  foreach(target IN ITEMS weir_stack weir_sim weir_core weir weir_http)
    get_target_property(sources ${target} SOURCES)
    if(NOT sources)
      set(empty "${CMAKE_CURRENT_BINARY_DIR}/${target}_empty.cpp")
      file(GENERATE OUTPUT "${empty}" CONTENT "namespace weir::detail { extern const int ${target}_empty; }\n")
      target_sources(${target} PRIVATE "${empty}")
    endif()
  endforeach()
endfunction()
