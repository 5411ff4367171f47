# Makes a header out of a text file: cmake -D INPUT=page.html -D OUTPUT=page.hpp -P embed.cmake
cmake_minimum_required(VERSION 3.25)
file(READ "${INPUT}" text)
string(FIND "${text}" ")weir_page\"" clash)
if(NOT clash EQUAL -1)
  message(FATAL_ERROR "${INPUT} contains the delimiter of the string that it becomes")
endif()
get_filename_component(name "${INPUT}" NAME)
file(WRITE "${OUTPUT}.new" "// Made from ${name} by the build. The live page, as it is served.\n#pragma once\n\n"
  "#include <string_view>\n\nnamespace weir::detail {\n"
  "inline constexpr std::string_view page_html = R\"weir_page(")
file(APPEND "${OUTPUT}.new" "${text}")
file(APPEND "${OUTPUT}.new" ")weir_page\";\n}  // namespace weir::detail\n")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
