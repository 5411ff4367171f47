// See socket_tables.hpp.
#include "runtime/tools/socket_tables.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/core/log.hpp"

namespace ss {
namespace {

using nlohmann::json;

struct column {
  std::string title;
  bool right = false;
};
struct line {
  std::vector<std::string> cells;
  std::string below;  // a second line
};

std::string text_of(const json& from, const char* name) {
  return weir::detail::printable(from.at(name).get<std::string>());  // it goes to a terminal
}

/// "192.0.2.1:80", with its network where that is not the back end's: "192.0.2.1:80%lan".
std::string place_of(const json& from) {
  return text_of(from, "local") + (from.contains("network") ? "%" + text_of(from, "network") : "");
}

/// A number, or "-" where the back end does not know it.
std::string number_of(const json& from, const char* name) {
  auto found = from.find(name);
  return found == from.end() ? "-" : std::to_string(found->get<std::uint64_t>());
}

std::string part_of(const json& from, const char* depth, const char* limit) {
  auto first = number_of(from, depth), second = number_of(from, limit);
  return first == "-" && second == "-" ? "-" : first + "/" + second;
}

std::string state_of(const std::string& name) {
  static const std::map<std::string, std::string> spelled = {
      {"established", "ESTAB"},     {"syn_sent", "SYN-SENT"},     {"syn_received", "SYN-RECV"},
      {"fin_wait_1", "FIN-WAIT-1"}, {"fin_wait_2", "FIN-WAIT-2"}, {"time_wait", "TIME-WAIT"},
      {"closed", "UNCONN"},         {"close_wait", "CLOSE-WAIT"}, {"last_ack", "LAST-ACK"},
      {"listen", "LISTEN"},         {"closing", "CLOSING"}};
  auto found = spelled.find(name);
  return found == spelled.end() ? weir::detail::printable(name) : found->second;
}

std::string milliseconds(double us) { return fmt::format("{:g}", us / 1000); }

/// " name:value" for what is known.
void note(std::string& out, const json& from, const char* name, const char* shown) {
  if (from.contains(name)) out += fmt::format(" {}:{}", shown, number_of(from, name));
}

void note_time(std::string& out, const json& from, const char* name, const char* shown) {
  if (auto found = from.find(name); found != from.end())
    out += fmt::format(" {}:{}", shown, milliseconds(found->get<double>()));
}

std::string listener_details(const json& l) {
  std::string out;
  note(out, l, "accept_queue_peak", "peak");
  note(out, l, "syn_queue_peak", "syn_peak");
  note(out, l, "syn_overflows", "syn_overflows");
  note(out, l, "syn_expired", "syn_expired");
  note(out, l, "cookies_accepted", "cookies_accepted");
  note_time(out, l, "accept_wait_us", "wait_ms");
  note_time(out, l, "accept_wait_longest_us", "longest_wait_ms");
  note(out, l, "members", "members");
  if (l.contains("sharing")) {
    out += " sharing:" + text_of(l, "sharing");
    if (l.contains("policy")) out += "/" + text_of(l, "policy");
  }
  if (l.contains("owner_key")) out += l.at("owner_key").get<bool>() ? " key:given" : " key:none";
  note_time(out, l, "defer_accept_us", "defer_ms");
  note(out, l, "deferred", "deferred");
  if (l.contains("accepted_ahead"))
    out += fmt::format(" ahead:{}", part_of(l, "accepted_ahead", "accepted_ahead_limit"));
  return out;
}

std::string connection_details(const json& c) {
  std::string out;
  auto flag = [&](const char* name) { return c.contains(name) && c.at(name).get<bool>(); };
  if (flag("timestamps")) out += " ts";
  if (flag("sack")) out += " sack";
  if (c.contains("congestion")) out += " " + text_of(c, "congestion");
  if (c.contains("congestion_state") && text_of(c, "congestion_state") != "open")
    out += " " + text_of(c, "congestion_state");
  if (flag("reordering")) out += " reordering";
  if (c.contains("send_window_shift") && c.contains("receive_window_shift"))
    out += fmt::format(" wscale:{},{}", number_of(c, "send_window_shift"),
                       number_of(c, "receive_window_shift"));
  note_time(out, c, "rto_us", "rto");
  if (c.contains("rtt_us") && c.contains("rtt_variance_us"))
    out += fmt::format(" rtt:{}/{}", milliseconds(c.at("rtt_us").get<double>()),
                       milliseconds(c.at("rtt_variance_us").get<double>()));
  static constexpr std::pair<const char*, const char*> numbers[] = {
      {"send_mss", "mss"},
      {"receive_mss", "rcvmss"},
      {"congestion_window", "cwnd"},
      {"slow_start_threshold", "ssthresh"},
      {"bytes_sent", "bytes_sent"},
      {"bytes_retransmitted", "bytes_retrans"},
      {"bytes_received", "bytes_received"},
      {"segments_sent", "segs_out"},
      {"segments_received", "segs_in"},
      {"retransmissions", "retrans"},
      {"timeouts", "timeouts"},
      {"fast_retransmits", "fast_retrans"},
      {"zero_window_probes", "window_probes"},
      {"unacknowledged", "unacked"},
      {"lost", "lost"},
      {"sacked", "sacked"},
      {"retransmitted", "retrans_out"},
      {"out_of_order", "out_of_order"},
      {"send_window", "snd_wnd"},
      {"receive_window", "rcv_wnd"},
      {"memory", "mem"},
      {"send_limit", "snd_buf"},
      {"receive_limit", "rcv_buf"},
      {"shard", "shard"},
  };
  for (auto [name, shown] : numbers) note(out, c, name, shown);
  if (flag("read_waits")) out += " read_waits";
  if (flag("write_waits")) out += " write_waits";
  return out;
}

std::string laid_out(const std::vector<column>& columns, const std::vector<line>& lines,
                     bool header) {
  std::vector<std::size_t> widths;
  widths.reserve(columns.size());
  for (auto& c : columns) widths.push_back(header ? c.title.size() : 0);
  for (auto& l : lines)
    for (std::size_t i = 0; i < l.cells.size(); ++i)
      widths[i] = std::max(widths[i], l.cells[i].size());
  auto row = [&](auto&& cell) {
    std::string out;
    for (std::size_t i = 0; i < columns.size(); ++i)
      out += columns[i].right ? fmt::format("{:>{}}  ", cell(i), widths[i])
                              : fmt::format("{:<{}}  ", cell(i), widths[i]);
    out.erase(out.find_last_not_of(' ') + 1);
    return out + "\n";
  };
  std::string out;
  if (header) out += row([&](std::size_t i) { return columns[i].title; });
  for (auto& l : lines) {
    out += row([&](std::size_t i) { return l.cells[i]; });
    if (!l.below.empty()) out += "\t" + l.below + "\n";
  }
  return out;
}

std::string holder(const json& sockets, const json& of) {
  return fmt::format("users:((\"{}\",pid={},shard={}))", text_of(sockets, "program"),
                     number_of(sockets, "pid"), number_of(of, "shard"));
}

std::string listeners(const json& sockets, const selection& wanted) {
  std::vector<column> columns = {{"State"},           {"Recv-Q", true},       {"Send-Q", true},
                                 {"SYN-Q", true},     {"Local Address:Port"}, {"Accepted", true},
                                 {"Overflows", true}, {"Cookies", true},      {"Shard", true}};
  if (wanted.processes) columns.push_back({"Process"});
  std::vector<line> lines;
  for (auto& l : sockets.at("listeners")) {
    line one{
        {"LISTEN", number_of(l, "accept_queue"), number_of(l, "backlog"),
         part_of(l, "syn_queue", "syn_backlog"), place_of(l), number_of(l, "accepted"),
         number_of(l, "accept_overflows"), number_of(l, "cookies_sent"), number_of(l, "shard")},
        wanted.info ? listener_details(l) : ""};
    if (wanted.processes) one.cells.push_back(holder(sockets, l));
    lines.push_back(std::move(one));
  }
  return laid_out(columns, lines, wanted.header);
}

std::string udp_sockets(const json& sockets, const selection& wanted) {
  std::vector<column> columns = {{"State"},           {"Recv-Q", true},       {"Limit", true},
                                 {"Datagrams", true}, {"Local Address:Port"}, {"Peer Address:Port"},
                                 {"Received", true},  {"Sent", true},         {"Dropped", true},
                                 {"Shard", true}};
  if (wanted.processes) columns.push_back({"Process"});
  std::vector<line> lines;
  for (auto& s : sockets.at("udp_sockets")) {
    const bool connected = s.contains("remote");
    std::string details;
    note(details, s, "icmp_errors", "icmp_errors");
    if (s.contains("read_waits") && s.at("read_waits").get<bool>()) details += " read_waits";
    line one{{connected ? "ESTAB" : "UNCONN", number_of(s, "receive_queued"),
              number_of(s, "receive_limit"), part_of(s, "datagrams_queued", "datagrams_limit"),
              place_of(s), connected ? text_of(s, "remote") : "*", number_of(s, "received"),
              number_of(s, "sent"), number_of(s, "dropped"), number_of(s, "shard")},
             wanted.info ? details : ""};
    if (wanted.processes) one.cells.push_back(holder(sockets, s));
    lines.push_back(std::move(one));
  }
  return laid_out(columns, lines, wanted.header);
}

std::string connections(const json& sockets, const selection& wanted) {
  std::vector<column> columns = {
      {"State"}, {"Recv-Q", true}, {"Send-Q", true}, {"Local Address:Port"}, {"Peer Address:Port"}};
  if (wanted.processes) columns.push_back({"Process"});
  std::vector<line> lines;
  for (auto& c : sockets.at("connections")) {
    line one{{state_of(c.at("state").get<std::string>()), number_of(c, "receive_queued"),
              number_of(c, "send_queued"), place_of(c), text_of(c, "remote")},
             wanted.info ? connection_details(c) : ""};
    if (wanted.processes) one.cells.push_back(holder(sockets, c));
    lines.push_back(std::move(one));
  }
  return laid_out(columns, lines, wanted.header);
}

}  // namespace

std::string to_tables(const json& sockets, const selection& wanted) {
  const bool streams = !wanted.udp || wanted.tcp;
  std::string out;
  const auto add = [&](std::string table) { out += (out.empty() ? "" : "\n") + std::move(table); };
  if (wanted.all || (wanted.listening && streams)) add(listeners(sockets, wanted));
  if (wanted.all || (!wanted.listening && streams)) add(connections(sockets, wanted));
  // A server of before has none to show, and says so by leaving them out.
  if (wanted.udp || (wanted.all && sockets.contains("udp_sockets")))
    add(udp_sockets(sockets, wanted));
  return out;
}

}  // namespace ss
