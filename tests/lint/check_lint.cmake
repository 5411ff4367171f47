# Compares the lines that the lint names with the lines that are marked.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND grep -n "// drop" "${FOLDER}/refused.cpp.txt" OUTPUT_VARIABLE marked)
execute_process(COMMAND awk -f "${LINT}" "${FOLDER}/refused.cpp.txt" OUTPUT_VARIABLE named
  RESULT_VARIABLE refused)
execute_process(COMMAND awk -f "${LINT}" "${FOLDER}/accepted.cpp.txt" OUTPUT_VARIABLE accepted
  RESULT_VARIABLE result)
string(REGEX MATCHALL "(^|\n)[0-9]+:" marked "${marked}")
string(REGEX MATCHALL "\\.txt:[0-9]+:" named "${named}")
string(REGEX REPLACE "[^0-9;]" "" marked "${marked}")
string(REGEX REPLACE "[^0-9;]" "" named "${named}")
if(NOT refused EQUAL 1 OR NOT marked STREQUAL named)
  message(FATAL_ERROR "marked: ${marked}\nnamed: ${named}\nexit code ${refused}")
endif()
if(NOT result EQUAL 0 OR NOT accepted STREQUAL "")
  message(FATAL_ERROR "named without a reason:\n${accepted}")
endif()
