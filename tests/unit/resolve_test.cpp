// What names are made of, without I/O: their text, messages, the two files, the order of addresses.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "runtime/resolve/files.hpp"
#include "runtime/resolve/message.hpp"
#include "runtime/resolve/order.hpp"
#include "support/name_server.hpp"

using namespace std::chrono_literals;
using namespace names_test;
using namespace weir::detail;
using weir::ip_address;

namespace {

ip_address ip(const char* text) { return *ip_address::parse(text); }

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// What is made of an answer to "example.org A".
verdict judge(const std::function<std::string(const asked&)>& make, answer& into) {
  const question q{"example.org", record_type::a};
  const auto query = encode_query(q, 4711);
  return read_answer(bytes(make(read_query(text(query)))), query, q, into);
}

std::string sorted(std::vector<destination> all) {
  sort_destinations(all);
  std::string out;
  for (const auto& one : all) out += (out.empty() ? "" : " ") + one.address.to_string();
  return out;
}

}  // namespace

TEST_CASE("host_names_are_letters_digits_hyphens_and_dots_within_bounds") {
  CHECK(host_name("Example.ORG") == "example.org");
  CHECK(host_name("example.org.") == "example.org");
  CHECK(host_name("_ldap._tcp.example.org") == "_ldap._tcp.example.org");
  CHECK(host_name(std::string(63, 'a') + ".b") != "");
  CHECK(host_name(std::string(64, 'a') + ".b") == "");
  std::string long_name(253, 'a');
  for (std::size_t i = 50; i < long_name.size(); i += 50) long_name[i] = '.';
  CHECK(host_name(long_name) == long_name);
  CHECK(host_name(long_name + 'a') == "");
  for (const auto* wrong : {"", ".", "..", ".a", "a..b", "a b", "a\tb", "a/b", "a:b", "a\\b"})
    CHECK(host_name(wrong) == "");
  CHECK(host_name(std::string_view("a\0b", 3)) == "");
  CHECK(reverse_name(ip("192.0.2.1")) == "1.2.0.192.in-addr.arpa");
  CHECK(reverse_name(ip("2001:db8::1")) ==
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

TEST_CASE("a_query_asks_one_question_and_for_recursion") {
  const auto query = text(encode_query({"example.org", record_type::srv}, 0x1234));
  CHECK(query.substr(0, 4) == std::string("\x12\x34\x01\x00", 4));
  const auto q = read_query(query);
  CHECK(q.name == "example.org");
  CHECK(q.type == SRV);
  CHECK(query.size() == 12 + q.wire.size());
}

TEST_CASE("an_answer_that_is_passed_on_gives_its_name_s_addresses") {
  const auto query = encode_query({"www.example.org", record_type::a}, 4711);
  const auto q = read_query(text(query));
  const auto honest = wire_message(
      q, plain_flags, 2,
      wire_record("\xc0\x0c", a("192.0.2.1", 60)) + wire_record("\xc0\x0c", a("192.0.2.2", 30)));
  const auto read = read_passed_answer(bytes(honest));
  REQUIRE(read);
  CHECK(read->name == "www.example.org");
  CHECK(read->said.addresses == std::vector{ip("192.0.2.1"), ip("192.0.2.2")});
  CHECK(read->said.lifetime == 30s);
  CHECK_FALSE(read_passed_answer(query));                        // a question
  CHECK_FALSE(read_passed_answer(bytes(honest.substr(0, 20))));  // cut off
  CHECK_FALSE(read_passed_answer(bytes(wire_message(q, plain_flags, 0, ""))));
}

TEST_CASE("an_answer_is_taken_up_to_its_bounds_of_records_and_lifetime") {
  answer got;
  CHECK(judge(
            [](const asked& q) {
              std::string records;
              for (int i = 0; i < 200; ++i)
                records += wire_record("\xc0\x0c", a("10.0.0.1", 0x7fffffff));
              return wire_message(q, plain_flags, 200, records);
            },
            got) == verdict::answered);
  CHECK(got.addresses.size() == max_records);
  CHECK(got.lifetime == longest_lifetime);
  CHECK(judge(
            [](const asked& q) {  // RFC 2181 8
              return wire_message(q, plain_flags, 1,
                                  wire_record("\xc0\x0c", a("10.0.0.1", 0x80000000)));
            },
            got) == verdict::answered);
  CHECK(got.lifetime == 0s);
}

TEST_CASE("aliases_are_followed_so_far_and_no_farther") {
  for (const int length : {max_aliases, max_aliases + 1}) {
    CAPTURE(length);
    answer got;
    const auto what = judge(
        [length](const asked& q) {
          std::string records, name = "example.org";
          for (int i = 0; i < length; ++i) {
            const auto next = "n" + std::to_string(i) + ".org";
            records += wire_record(wire_name(name), alias(next.c_str()));
            name = next;
          }
          records += wire_record(wire_name(name), a("10.0.0.1"));
          return wire_message(q, plain_flags, static_cast<unsigned>(length) + 1, records);
        },
        got);
    CHECK((what == verdict::answered) == (length == max_aliases));
  }
}

TEST_CASE("a_referral_is_no_answer_and_codes_are_told_apart") {
  answer got;
  auto with = [&](unsigned flags) {
    return judge([flags](const asked& q) { return wire_message(q, flags, 0, ""); }, got);
  };
  CHECK(with(0x8100) == verdict::failed);  // neither authoritative nor recursive
  CHECK(with(0x8180) == verdict::answered);
  CHECK(got.error == weir::name_error::no_data);
  CHECK(with(0x8500) == verdict::answered);
  CHECK(with(0x8183) == verdict::answered);
  CHECK(got.error == weir::name_error::not_found);
  CHECK(got.lifetime == 0s);
  CHECK(with(0x8182) == verdict::failed);
  CHECK(with(0x8185) == verdict::failed);
  CHECK(with(0x8380) == verdict::truncated);
  CHECK(with(0x0180) == verdict::foreign);
  CHECK(with(0xa180) == verdict::foreign);  // another opcode
}

TEST_CASE("resolv_conf_and_hosts_give_what_they_say_and_pass_over_the_rest") {
  weir::resolver_settings s;
  read_resolv_conf(
      "# a comment\nnameserver 192.0.2.1\nnameserver  ::1 ; local\nnameserver nonsense\n"
      "domain first.org\nsearch Example.org lan bad/name\noptions rotate ndots:2\nsortlist\n",
      s);
  CHECK(s.servers == std::vector<weir::endpoint>{{"192.0.2.1", 53}, {"::1", 53}});
  CHECK(s.search == std::vector<std::string>{"example.org", "lan"});
  CHECK(s.ndots == 2);
  std::string many;
  for (int i = 0; i < 100; ++i) many += "nameserver 10.0.0.1\n";
  read_resolv_conf(many, s);
  CHECK(s.servers.size() == max_servers);

  const hosts_table hosts(
      "127.0.0.1 localhost\n::1\tlocalhost ip6 # both\n10.0.0.1 A.lan a a\nx y");
  CHECK(hosts.addresses("localhost") == std::vector{ip("127.0.0.1"), ip("::1")});
  CHECK(hosts.addresses("a") == std::vector{ip("10.0.0.1")});
  CHECK(hosts.addresses("y").empty());
  CHECK(hosts.names(ip("10.0.0.1")) == std::vector<std::string>{"a.lan", "a"});
}

TEST_CASE("addresses_are_sorted_as_rfc_6724_does_in_its_examples") {
  // 10.2, as far as weir has the rules: the first of each pair is to be preferred.
  CHECK(sorted({{ip("198.51.100.121"), true, ip("169.254.13.78")},
                {ip("2001:db8:1::1"), true, ip("2001:db8:1::2")}}) ==
        "2001:db8:1::1 198.51.100.121");
  CHECK(sorted({{ip("2001:db8:1::1"), true, ip("fe80::1")},
                {ip("198.51.100.121"), true, ip("198.51.100.117")}}) ==
        "198.51.100.121 2001:db8:1::1");
  CHECK(sorted({{ip("10.1.2.3"), true, ip("10.1.2.4")},
                {ip("2001:db8:1::1"), true, ip("2001:db8:1::2")}}) == "2001:db8:1::1 10.1.2.3");
  CHECK(sorted({{ip("2001:db8:1::1"), true, ip("2001:db8:1::2")},
                {ip("fe80::1"), true, ip("fe80::2")}}) == "fe80::1 2001:db8:1::1");
  CHECK(sorted({{ip("2001:db8:1::1"), true, ip("2001:db8:3f44::2")},
                {ip("2001:db8:3ffe::1"), true, ip("2001:db8:3f44::2")}}) ==
        "2001:db8:3ffe::1 2001:db8:1::1");
  CHECK(sorted({{ip("2001:db8:1::1"), true, ip("2002:c633:6401::2")},
                {ip("2002:c633:6401::1"), true, ip("2002:c633:6401::2")}}) ==
        "2002:c633:6401::1 2001:db8:1::1");
  CHECK(sorted({{ip("2001:db8:1::1"), false, std::nullopt},
                {ip("10.0.0.1"), true, ip("10.0.0.2")}}) == "10.0.0.1 2001:db8:1::1");
  // IPv4 addresses keep the order that the server gave them.
  CHECK(sorted({{ip("198.51.100.9"), true, ip("10.0.0.2")},
                {ip("10.0.0.1"), true, ip("10.0.0.2")}}) == "198.51.100.9 10.0.0.1");
}
