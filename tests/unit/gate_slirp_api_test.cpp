// Requests of slirp4netns's API socket, and what is answered.
#include <doctest/doctest.h>

#include <string>

#include "runtime/tools/gate/slirp_api.hpp"

using weir::ip_address;
using weir::result;
using weir::gate::answer_api_request;
using weir::gate::is_whole_api_request;
using weir::gate::published;

namespace {

struct ports_of_a_test final : weir::gate::published_ports {
  result<std::uint64_t> add(const published& how) override {
    if (how.outside.port == 1) return std::errc::address_in_use;
    all.push_back({++last, how});
    return last;
  }
  bool remove(std::uint64_t id) override {
    return std::erase_if(all, [&](const entry& each) { return each.id == id; }) != 0;
  }
  std::vector<entry> list() const override { return all; }
  ip_address guest_for(const ip_address& outside) const override {
    return *ip_address::parse(outside.is_v4() ? "10.0.2.100" : "fd77:6569:7200::100");
  }
  std::vector<entry> all;
  std::uint64_t last = 41;
};

std::string add(const std::string& arguments) {
  return R"({"execute":"add_hostfwd","arguments":{)" + arguments + "}}";
}
std::string wrong(const std::string& why) {
  return R"({"error":{"desc":"bad request: )" + why + R"("}})";
}

}  // namespace

TEST_CASE("slirp_api_publishes_a_port_lists_it_and_takes_it_back") {
  ports_of_a_test ports;
  // As podman asks.
  CHECK(answer_api_request(add(R"("proto":"tcp","host_addr":"0.0.0.0","host_port":8080,)"
                               R"("guest_addr":"","guest_port":80)"),
                           ports) == R"({"return":{"id":42}})");
  CHECK(answer_api_request(add(R"("proto":"udp","host_addr":"::1","host_port":53,)"
                               R"("guest_addr":"fd77:6569:7200::100","guest_port":54)"),
                           ports) == R"({"return":{"id":43}})");
  CHECK(answer_api_request(add(R"("proto":"tcp6","host_port":7,"guest_port":8)"), ports) ==
        R"({"return":{"id":44}})");
  REQUIRE(ports.all.size() == 3);
  CHECK(ports.all[0].how.outside == *weir::endpoint::parse("0.0.0.0:8080"));
  CHECK(ports.all[0].how.inside == 80);
  CHECK(!ports.all[0].how.udp);
  CHECK(ports.all[1].how.udp);
  CHECK(ports.all[2].how.outside == *weir::endpoint::parse("[::]:7"));
  ports.all.resize(2);
  CHECK(answer_api_request(R"({"execute":"list_hostfwd"})", ports) ==
        R"({"return":{"entries":[)"
        R"({"guest_addr":"10.0.2.100","guest_port":80,"host_addr":"0.0.0.0","host_port":8080,)"
        R"("id":42,"proto":"tcp"},)"
        R"({"guest_addr":"fd77:6569:7200::100","guest_port":54,"host_addr":"::1","host_port":53,)"
        R"("id":43,"proto":"udp"}]}})");
  const std::string back = R"({"execute":"remove_hostfwd","arguments":{"id":42}})";
  CHECK(answer_api_request(back, ports) == R"({"return":{}})");
  CHECK(answer_api_request(back, ports) == wrong("remove_hostfwd: bad arguments.id"));
  CHECK(ports.all.size() == 1);
}

TEST_CASE("slirp_api_says_what_is_wrong_with_a_request") {
  ports_of_a_test ports;
  const std::string tcp = R"("proto":"tcp","host_port":80,"guest_port":80)";
  for (const auto& [request, why] :
       {std::pair<std::string, std::string>{"", "it is no object of JSON"},
        {"[1]", "it is no object of JSON"},
        {"{\"execute\":", "it is no object of JSON"},
        {"{}", "no \\\"execute\\\""},
        {R"({"execute":"dance"})", "unknown \\\"execute\\\": dance"},
        {R"({"execute":"add_hostfwd","arguments":7})", "add_hostfwd: bad arguments"},
        {add(""), "add_hostfwd: bad arguments.proto"},
        {add(R"("proto":"sctp")"), "add_hostfwd: bad arguments.proto"},
        {add(R"("proto":7)"), "add_hostfwd: bad arguments.proto"},
        {add(R"("proto":"tcp","guest_port":80)"), "add_hostfwd: bad arguments.host_port"},
        {add(R"("proto":"tcp","host_port":65536)"), "add_hostfwd: bad arguments.host_port"},
        {add(R"("proto":"tcp","host_port":-1)"), "add_hostfwd: bad arguments.host_port"},
        {add(R"("proto":"tcp","host_port":80)"), "add_hostfwd: bad arguments.guest_port"},
        {add(tcp + R"(,"host_addr":"here")"), "add_hostfwd: bad arguments.host_addr"},
        {add(R"("proto":"udp6","host_addr":"127.0.0.1")"), "add_hostfwd: bad arguments.host_addr"},
        {add(tcp + R"(,"guest_addr":"10.0.2.15")"), "add_hostfwd: bad arguments.guest_addr"},
        {R"({"execute":"remove_hostfwd"})", "remove_hostfwd: bad arguments.id"}})
    CHECK(answer_api_request(request, ports) == wrong(why));
  CHECK(answer_api_request(add(R"("proto":"tcp","host_port":1,"guest_port":80)"), ports)
            .starts_with(R"({"error":{"desc":"bad request: add_hostfwd: )"));
  CHECK(answer_api_request("{\"execute\":\"\xff\"}", ports).starts_with(R"({"error")"));
  CHECK(ports.all.empty());
}

TEST_CASE("slirp_api_request_ends_with_its_object") {
  const auto whole = add(R"("proto":"tcp")");
  for (std::size_t n = 0; n < whole.size(); ++n)
    CHECK_FALSE(is_whole_api_request(std::string_view(whole).substr(0, n)));
  CHECK(is_whole_api_request(whole));
  CHECK(is_whole_api_request(whole + "\n"));
}
