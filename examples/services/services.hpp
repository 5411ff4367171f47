// The classic test services: echo (RFC 862, over TCP and UDP), discard (RFC 863) and character
// generator (RFC 864), as coroutines that know nothing of back ends.
#pragma once

#include <string_view>

#include <weir/weir.hpp>

namespace services {

/// How long a session may go without progress. Negative: for ever.
struct limits {
  weir::duration idle = std::chrono::seconds(300);
};

/// Sends back what comes, until the peer ends its sending.
weir::task<> echo(weir::any_stream peer, limits limit);
/// Reads until the peer ends its sending, and says nothing.
weir::task<> discard(weir::any_stream peer, limits limit);
/// Sends lines of 72 characters out of 95, each line starting one further on, until the peer goes;
/// what it sends is thrown away.
weir::task<> chargen(weir::any_stream peer, limits limit);

/// Sends each datagram back, until the shard is asked to stop.
weir::task<> udp_echo(weir::udp_socket& socket);

/// What chargen writes at a time: the 95 lines after which it repeats itself, some times over.
std::string_view chargen_pattern();

}  // namespace services
