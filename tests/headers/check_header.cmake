# Compiles SOURCE with only the public INCLUDES in reach, and looks at what it pulled in.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "," ";" roots "${INCLUDES}")
list(TRANSFORM roots PREPEND "-I")

set(needs "${SOURCE}.d")
file(REMOVE "${needs}")
execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Werror
  ${roots} -MD -MF ${needs} ${SOURCE} ERROR_VARIABLE errors RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the header does not compile alone:\n${errors}")
endif()
file(READ "${needs}" needed)
if(needed MATCHES "[^ ]*/(liburing|asio|liburing/io_uring|linux/io_uring|linux/if_tun)[./][^ \n]*")
  message(FATAL_ERROR "a public header may not include ${CMAKE_MATCH_0}")
endif()
