// One GET over a connection of its own: all that weir-ss needs of HTTP. Blocking, bounded in time
// and size.
#pragma once

#include <stdexcept>
#include <string>

#include "weir/stack/address.hpp"

namespace ss {

/// Nobody there, or nobody who answers as a web server does. what() is one line.
class get_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct answer {
  int status = 0;
  std::string body;
};

answer http_get(const weir::endpoint& from, const std::string& target);

}  // namespace ss
