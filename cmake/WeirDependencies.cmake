# The libraries weir stands on, all from Debian 12's own packages (./dev setup installs them).

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
if(WEIR_WITH_URING)
  pkg_check_modules(LIBURING REQUIRED IMPORTED_TARGET liburing>=2.3)
endif()

# OpenSSL, for the TLS layer only.
set(WEIR_BUILD_TLS OFF)
if(NOT WEIR_WITH_TLS STREQUAL "OFF")
  find_package(OpenSSL 3.0 QUIET)
  if(OPENSSL_FOUND)
    set(WEIR_BUILD_TLS ON)
  elseif(WEIR_WITH_TLS STREQUAL "ON")
    message(FATAL_ERROR "WEIR_WITH_TLS=ON: OpenSSL 3 is missing: install libssl-dev")
  else()
    message(STATUS "weir::tls is left out: OpenSSL 3 is missing (libssl-dev)")
  endif()
endif()

# Standalone Asio, as headers only. Asio 1.22 does not see clang's coroutines unless it is told.
find_path(WEIR_ASIO_INCLUDE asio.hpp)
add_library(weir_asio INTERFACE)
if(WEIR_ASIO_INCLUDE)
  target_compile_definitions(weir_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED
    $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT=1>
    $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_STD_COROUTINE=1>)
  target_include_directories(weir_asio SYSTEM INTERFACE "${WEIR_ASIO_INCLUDE}")
  target_link_libraries(weir_asio INTERFACE Threads::Threads)
elseif(WEIR_WITH_ASIO OR WEIR_BUILD_BENCH)
  message(FATAL_ERROR "asio.hpp is missing: install libasio-dev, or leave asio out of WEIR_BACKENDS "
    "and set WEIR_BUILD_BENCH=OFF")
endif()

# llhttp comes as C sources; it is compiled once, without our warnings, and becomes part of weir's archive: the
# admin endpoint speaks HTTP.
find_path(WEIR_LLHTTP_INCLUDE llhttp.h PATH_SUFFIXES llhttp HINTS /usr/share/include)
find_path(WEIR_LLHTTP_SOURCE llhttp.c PATH_SUFFIXES llhttp HINTS /usr/share)
if(WEIR_LLHTTP_INCLUDE AND WEIR_LLHTTP_SOURCE)
  add_library(weir_llhttp STATIC EXCLUDE_FROM_ALL
    ${WEIR_LLHTTP_SOURCE}/llhttp.c ${WEIR_LLHTTP_SOURCE}/api.c ${WEIR_LLHTTP_SOURCE}/http.c)
  target_include_directories(weir_llhttp SYSTEM PUBLIC "${WEIR_LLHTTP_INCLUDE}")
else()
  message(FATAL_ERROR "llhttp is missing: install node-llhttp")
endif()
find_package(nlohmann_json REQUIRED)

# WebSocket is part of weir::http where wslay and zlib are there.
find_path(WEIR_WSLAY_INCLUDE wslay/wslay.h)
find_library(WEIR_WSLAY_LIBRARY wslay)
find_package(ZLIB)
if(WEIR_WITH_WEBSOCKET STREQUAL "AUTO")
  set(weir_websocket OFF)
  if(WEIR_WSLAY_INCLUDE AND WEIR_WSLAY_LIBRARY AND ZLIB_FOUND)
    set(weir_websocket ON)
  else()
    message(STATUS "weir::http: without WebSocket (libwslay-dev, zlib1g-dev)")
  endif()
else()
  set(weir_websocket ${WEIR_WITH_WEBSOCKET})
endif()
if(weir_websocket AND NOT (WEIR_WSLAY_INCLUDE AND WEIR_WSLAY_LIBRARY AND ZLIB_FOUND))
  message(FATAL_ERROR "WEIR_WITH_WEBSOCKET=ON: install libwslay-dev and zlib1g-dev")
endif()

# ldns, as the codec of DNS messages. Without it there is no weir::resolve, and the rest is whole.
set(WEIR_BUILD_RESOLVE OFF)
if(NOT WEIR_WITH_RESOLVE STREQUAL "OFF")
  pkg_check_modules(LDNS IMPORTED_TARGET ldns>=1.8)
  if(LDNS_FOUND)
    set(WEIR_BUILD_RESOLVE ON)
  elseif(WEIR_WITH_RESOLVE STREQUAL "ON")
    message(FATAL_ERROR "WEIR_WITH_RESOLVE: ldns is missing: install libldns-dev")
  else()
    message(STATUS "weir::resolve: left out: ldns is missing (libldns-dev)")
  endif()
endif()
