# Makes a manual page out of a program's --help, with help2man:
#   cmake -D HELP2MAN=help2man -D PROGRAM=bin/weir-ss -D NAME=weir-ss -D WORDS="what sockets do" -D VERSION=0.1.0 -D OUTPUT=weir-ss.1
#     [-D COMMAND=load] -P man_page.cmake
cmake_minimum_required(VERSION 3.25)
set(folder "${OUTPUT}.d")
file(MAKE_DIRECTORY "${folder}")
# The page shows the program's name, not where the build put it, and of an option's two names the short one.
get_filename_component(called "${PROGRAM}" NAME)
file(CONFIGURE OUTPUT "${folder}/${called}" @ONLY CONTENT [=[#!/bin/sh
"@PROGRAM@" "$@" | sed -e 's/--[a-z]*\.\([a-z-]*\),--\1/--\1/' -e 's|@PROGRAM@|@called@|' \
  -e 's/^  \(--[a-z-]*\)  *\(-[a-zA-Z]\): /  \2, \1      /'
]=])
file(CHMOD "${folder}/${called}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
set(help "--help")
if(COMMAND)
  set(help "${COMMAND} --help")
endif()
execute_process(COMMAND "${HELP2MAN}" --no-info --no-discard-stderr "--version-string=${VERSION}" "--name=${WORDS}"
    "--help-option=${help}" "${folder}/${called}"
  OUTPUT_VARIABLE page ERROR_VARIABLE problem RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR NOT page MATCHES "\\.SH NAME")
  message(FATAL_ERROR "help2man ended with ${result}: ${problem}")
endif()
# help2man ends an option's name at its first dot.
string(REGEX REPLACE "(\\\\fB\\\\-\\\\-[a-z\\\\0-9_-]*)\\\\fR([.][a-z0-9_.]+)" "\\1\\2\\\\fR" page "${page}")
string(TOUPPER "${NAME}" upper)
string(REGEX REPLACE "\n\\.TH [A-Z0-9_-]+ " "\n.TH ${upper} " page "${page}")
file(WRITE "${OUTPUT}" "${page}")
