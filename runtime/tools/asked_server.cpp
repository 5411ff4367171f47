// What weir-ss and weir-ps have in common beside their question.
#include "runtime/tools/asked_server.hpp"

#include <cstdio>

namespace ss {

std::optional<std::string> address_in(std::string_view word) {
  constexpr std::string_view scheme = "http://";
  if (word.starts_with(scheme)) {
    word.remove_prefix(scheme.size());
    word = word.substr(0, word.find('/'));
  }
  if (!weir::endpoint::parse(word)) return {};
  return std::string(word);
}

weir::endpoint reachable(weir::endpoint where) {
  if (where.address.is_unspecified())
    where.address = where.address.is_v4() ? weir::ip_address::v4({127, 0, 0, 1})
                                          : weir::ip_address::loopback_v6();
  return where;
}

bool print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
         std::fflush(stdout) == 0;
}

}  // namespace ss
