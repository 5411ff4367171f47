// slirp4netns's API socket (slirp4netns(1), "API SOCKET"): one request of JSON for each connection,
// which publishes a port, takes it back, or lists what is published. Texts in, texts out; who
// listens is the gateway's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "runtime/tools/gate/published.hpp"
#include "weir/error.hpp"

namespace weir::gate {

/// What the API publishes; who answers its requests has one.
class published_ports {
 public:
  struct entry {
    std::uint64_t id = 0;
    published how;
  };

  virtual result<std::uint64_t> add(const published& how) = 0;
  /// False: there is none of that id.
  virtual bool remove(std::uint64_t id) = 0;
  virtual std::vector<entry> list() const = 0;
  /// Where a published port of this address leads to; it cannot lead to another.
  virtual ip_address guest_for(const ip_address& outside) const = 0;

 protected:
  ~published_ports() = default;
};

/// A longer request is refused.
inline constexpr std::size_t longest_api_request = 4096;

/// Whether it is one whole request, or can be none any more: some callers do not end their stream.
bool is_whole_api_request(std::string_view text);
/// What is answered: {"return": ...}, or {"error": {"desc": ...}}.
std::string answer_api_request(std::string_view request, published_ports& ports);

}  // namespace weir::gate
