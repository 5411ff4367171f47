// One end of a conversation between two stacks, as an application would hold it: says what it has
// to say, hears what comes, and shuts its direction when it is done.
#pragma once

#include <string>

#include "packet/two_hosts.hpp"

namespace weir::test {

inline std::string text(std::uint32_t n, char first) {
  std::string out;
  for (std::uint32_t i = 0; i < n; ++i) out += static_cast<char>(first + i % 23);
  return out;
}

/// One end: writes what it has to say, reads what comes, closes when told to.
struct speaker {
  explicit speaker(host& of) : h(&of) {}
  host* h;
  socket_id socket = socket_id::none;
  std::string say, heard;
  std::size_t said = 0;
  bool shut = false, ended = false, failed = false;

  void work(instant now, bool waits_for_the_other, bool reads_at_the_end) {
    if (socket == socket_id::none || failed) return;
    const auto info = h->info(socket);
    if (!info) return;
    while (said < say.size()) {
      const auto n = send_text(*h, now, socket, std::string_view(say).substr(said));
      if (!n) break;
      said += *n;
    }
    if (!reads_at_the_end || info->receive_window == 0 || !heard.empty())
      heard += receive_text(*h, now, socket);
    ended = h->at_end(socket);
    failed = static_cast<bool>(h->error(socket));
    const bool open = info->state != tcp_state::syn_sent && info->state != tcp_state::syn_received;
    if (!shut && open && said == say.size() && (!waits_for_the_other || ended))
      shut = !h->shutdown_send(now, socket);
  }
};

}  // namespace weir::test
