// Lines of JSON over a descriptor, for both ends of an agent's standard streams. Blocks, with a
// limit.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "weir/stack/time.hpp"

namespace weir::load {

class agent_stream {
 public:
  static constexpr std::size_t longest_line = std::size_t{64} << 20;

  /// Descriptors that are somebody else's to close; they may be the same socket.
  agent_stream(int in, int out) : in_(in), out_(out) {}

  /// Throws std::system_error.
  void say(const nlohmann::json& message);
  /// The next message; none: the other end has closed. What is no JSON object is passed over until
  /// the first that is one (a login's greeting), and is an error after it. Throws
  /// std::runtime_error, also where nothing came until `limit` (unset: for ever).
  std::optional<nlohmann::json> hear(std::optional<duration> limit = {});

 private:
  bool fill(std::optional<duration> limit);

  int in_, out_;
  bool begun_ = false;
  std::string read_;
};

}  // namespace weir::load
