// A proxy through which everything leaves: what was given as --upstream, and the asking.
#pragma once

#include <string>
#include <string_view>

#include "runtime/tools/gate/socks5.hpp"

namespace weir::gate {

struct upstream {
  enum class protocol : unsigned char { socks5, http } how = protocol::socks5;
  endpoint where;
  credentials who;

  /// "socks5://[USER:PASSWORD@]HOST:PORT", "http://...": %XX stands for a byte in the first two.
  /// HOST may be a name, which is looked up now. False: `why` says what is wrong.
  static bool parse(std::string_view text, upstream& out, std::string& why);

  /// On a stream that is connected to `where`; as socks5_connect().
  task<std::error_code> ask(any_stream& proxy, const endpoint& to) const;
};

}  // namespace weir::gate
