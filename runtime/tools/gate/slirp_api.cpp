// Requests and answers of the API socket, as slirp4netns 1.2 spells them.
#include "runtime/tools/gate/slirp_api.hpp"

#include <optional>

#include <nlohmann/json.hpp>

namespace weir::gate {
namespace {

using nlohmann::json;

std::string failed(const std::string& why) {
  return json{{"error", {{"desc", "bad request: " + why}}}}.dump(-1, ' ', true,
                                                                 json::error_handler_t::replace);
}

std::string returned(json value) { return json{{"return", std::move(value)}}.dump(); }

/// A member of this kind; nothing where it is not there, or is another's kind.
std::optional<std::string> text_in(const json& from, const char* name) {
  const auto found = from.find(name);
  if (found == from.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}
std::optional<std::uint64_t> number_in(const json& from, const char* name) {
  const auto found = from.find(name);
  if (found == from.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}
std::uint16_t port_in(const json& from, const char* name) {
  const auto number = number_in(from, name).value_or(0);
  return number > 65535 ? 0 : static_cast<std::uint16_t>(number);
}

/// An address where one is given (podman sends empty ones); false: it is none.
bool address_in(const json& from, const char* name, ip_address& into) {
  if (!from.contains(name)) return true;
  const auto text = text_in(from, name);
  if (text && text->empty()) return true;
  const auto parsed = text ? ip_address::parse(*text) : std::nullopt;
  if (parsed) into = *parsed;
  return parsed.has_value();
}

/// "tcp", "udp", and with a family: "tcp6".
bool take_protocol(std::string_view word, published& out, ip_address& usual) {
  const bool v6 = word.ends_with('6');
  if (v6 || word.ends_with('4')) word.remove_suffix(1);
  usual = v6 ? ip_address::v6({}) : ip_address();
  out.udp = word == "udp";
  return out.udp || word == "tcp";
}

std::string add_port(const json& arguments, published_ports& ports) {
  const auto wrong = [](const char* name) {
    return failed(std::string("add_hostfwd: bad arguments.") + name);
  };
  published how;
  if (!take_protocol(text_in(arguments, "proto").value_or(""), how, how.outside.address))
    return wrong("proto");
  const bool names_v6 = how.outside.address.is_v6();
  if (!address_in(arguments, "host_addr", how.outside.address) ||
      (names_v6 && how.outside.address.is_v4()))
    return wrong("host_addr");
  how.outside.port = port_in(arguments, "host_port");
  if (how.outside.port == 0) return wrong("host_port");
  how.inside = port_in(arguments, "guest_port");
  if (how.inside == 0) return wrong("guest_port");
  const auto own = ports.guest_for(how.outside.address);
  auto guest = own;
  if (!address_in(arguments, "guest_addr", guest) || guest != own) return wrong("guest_addr");
  const auto made = ports.add(how);
  if (!made) return failed("add_hostfwd: " + made.error().message());
  return returned({{"id", *made}});
}

std::string list_ports(const published_ports& ports) {
  auto entries = json::array();
  for (const auto& [id, how] : ports.list())
    entries.push_back({{"id", id},
                       {"proto", how.udp ? "udp" : "tcp"},
                       {"host_addr", how.outside.address.to_string()},
                       {"host_port", how.outside.port},
                       {"guest_addr", ports.guest_for(how.outside.address).to_string()},
                       {"guest_port", how.inside}});
  return returned({{"entries", std::move(entries)}});
}

}  // namespace

bool is_whole_api_request(std::string_view text) { return json::accept(text); }

std::string answer_api_request(std::string_view request, published_ports& ports) {
  const auto asked = json::parse(request, nullptr, false);
  if (!asked.is_object()) return failed("it is no object of JSON");
  const auto verb = text_in(asked, "execute");
  if (!verb) return failed("no \"execute\"");
  const auto found = asked.find("arguments");
  const auto arguments = found == asked.end() ? json::object() : *found;
  if (!arguments.is_object()) return failed(*verb + ": bad arguments");
  if (*verb == "add_hostfwd") return add_port(arguments, ports);
  if (*verb == "list_hostfwd") return list_ports(ports);
  if (*verb != "remove_hostfwd") return failed("unknown \"execute\": " + *verb);
  const auto id = number_in(arguments, "id");
  if (!id || !ports.remove(*id)) return failed("remove_hostfwd: bad arguments.id");
  return returned(json::object());
}

}  // namespace weir::gate
