// Reads the C++ blocks of a page of docs/, for tests that hold the page to code that is compiled.
#pragma once

#include <doctest/doctest.h>

#include <cctype>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace doc_blocks {

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string without_space(const std::string& text) {
  std::string out;
  for (char c : text)
    if (!std::isspace(static_cast<unsigned char>(c))) out += c;
  return out;
}

inline std::vector<std::string> cpp_blocks(const std::string& page) {
  std::vector<std::string> blocks;
  const std::string open = "```cpp\n", close = "\n```";
  for (auto at = page.find(open); at != std::string::npos; at = page.find(open, at)) {
    at += open.size();
    auto end = page.find(close, at);
    if (end == std::string::npos) break;
    blocks.push_back(page.substr(at, end - at));
    at = end;
  }
  return blocks;
}

}  // namespace doc_blocks
