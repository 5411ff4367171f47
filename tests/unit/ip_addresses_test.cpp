// Address rules: RFC 1122 3.2.1.3, RFC 4291 2, RFC 6724 5.
#include "stack/ip/addresses.hpp"

#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

stack::address_set make(std::initializer_list<const char*> texts) {
  std::vector<ip_prefix> own;
  for (auto text : texts) own.push_back(*ip_prefix::parse(text));
  return stack::address_set(own);
}

}  // namespace

TEST_CASE("addresses_from_outside_that_cannot_be_a_source") {
  auto set = make({"198.18.0.2/24", "10.0.0.1/8", "2001:db8::2/64"});
  for (auto bad : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "224.0.0.1", "239.255.255.255",
                   "255.255.255.255", "198.18.0.255", "10.255.255.255", "198.18.0.2", "::", "::1",
                   "ff02::1", "2001:db8::2", "::ffff:198.18.0.1"})
    CHECK_MESSAGE(!set.is_valid_wire_source(addr(bad)), bad);
  for (auto good : {"198.18.0.1", "198.18.1.255", "1.2.3.4", "240.0.0.1", "2001:db8::1", "fe80::1"})
    CHECK_MESSAGE(set.is_valid_wire_source(addr(good)), good);
}

TEST_CASE("addresses_are_found_among_a_few_and_among_many") {
  std::vector<ip_prefix> many;
  for (std::uint32_t i = 0; i < 300; ++i) many.push_back({ip_address::v4(0x0a000000u + i * 7), 8});
  stack::address_set set(many);
  for (std::uint32_t i = 0; i < 2100; ++i)
    REQUIRE(set.is_local(ip_address::v4(0x0a000000u + i)) == (i % 7 == 0));
  CHECK(!make({"198.18.0.2/24"}).is_local(addr("198.18.0.3")));
}

TEST_CASE("addresses_source_is_chosen_by_subnet_and_scope") {
  auto set =
      make({"10.0.0.1/8", "198.18.0.2/24", "fe80::2/64", "2001:db8::2/64", "2001:db8:1::2/64"});
  CHECK(set.source_for(addr("198.18.0.9")) == addr("198.18.0.2"));
  CHECK(set.source_for(addr("10.9.9.9")) == addr("10.0.0.1"));
  CHECK(set.source_for(addr("8.8.8.8")) == addr("10.0.0.1"));
  CHECK(set.source_for(addr("2001:db8:1::9")) == addr("2001:db8:1::2"));
  CHECK(set.source_for(addr("2001:4860::1")) == addr("2001:db8::2"));
  CHECK(set.source_for(addr("fe80::99")) == addr("fe80::2"));
  CHECK(set.source_for(addr("2001:db8::2")) == addr("2001:db8::2"));
  CHECK(!make({"10.0.0.1/8"}).source_for(addr("2001:db8::1")));
}

TEST_CASE("addresses_of_others_are_taken_within_the_given_networks_only") {
  auto set = make({"198.18.0.2/24", "2001:db8::2/64"});
  CHECK(set.take_also(*ip_prefix::parse("203.0.113.0/24")));
  CHECK(set.take_also(*ip_prefix::parse("2001:db8:7::/48")));
  for (auto taken : {"203.0.113.0", "203.0.113.255", "2001:db8:7::1", "2001:db8:7:ffff::1"})
    CHECK_MESSAGE(set.is_ours(addr(taken)), taken);
  for (auto foreign :
       {"203.0.112.255", "203.0.114.0", "9.9.9.9", "2001:db8:8::", "2001:db8:6::1", "fe80::1"})
    CHECK_MESSAGE(!set.is_ours(addr(foreign)), foreign);
}

TEST_CASE("addresses_groups_that_every_ipv6_node_is_in") {
  auto set = make({"2001:db8::12:3456/64"});
  for (auto joined : {"ff01::1", "ff02::1", "ff02::1:ff12:3456"})
    CHECK_MESSAGE(set.is_joined_group(addr(joined)), joined);
  for (auto foreign : {"ff02::2", "ff05::1", "ff02::1:ff12:3457", "ff02::1:ff00:1", "224.0.0.1",
                       "2001:db8::12:3456"})
    CHECK_MESSAGE(!set.is_joined_group(addr(foreign)), foreign);
}
