// weir-probe, from outside.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include "programs/harness.hpp"

using namespace programs;

TEST_CASE("it_says_of_each_back_end_whether_it_can_be_used_and_if_not_why") {
  auto f = run({weir_probe(), "--json"});
  REQUIRE(f.code == 0);
  auto report = nlohmann::json::parse(f.out);
  CHECK(report["kernel"].get<std::string>().size() > 2);
  CHECK(report["cores"]["usable"].get<int>() >= 1);
  for (auto* name : {"uring", "asio", "stack", "sim"}) {
    CAPTURE(name);
    auto& entry = report["backends"][name];
    REQUIRE(entry["usable"].is_boolean());
    CHECK((entry["usable"].get<bool>() || !entry["reason"].get<std::string>().empty()));
  }
}

TEST_CASE("it_shows_what_of_io_uring_is_used_under_a_profile") {
  auto f = run({weir_probe(), "--json", "--uring.profile", "6.1", "--uring.hide", "cqe_skip"});
  REQUIRE(f.code == 0);
  auto ring = nlohmann::json::parse(f.out)["io_uring"];
  if (!ring["ring"].get<bool>()) {
    std::puts("SKIPPED: no io_uring here");
    return;
  }
  CHECK(ring["limits"] == "uring.profile 6.1, uring.hide cqe_skip");
  for (auto* newer : {"multishot_read", "resize_file", "send_msg_ring", "no_iowait", "cqe_skip"}) {
    CAPTURE(newer);
    CHECK(ring[newer] == false);
  }
  auto plain = nlohmann::json::parse(run({weir_probe(), "--json"}).out)["io_uring"];
  CHECK(plain["limits"] == "all");
  for (auto* older : {"buffer_rings", "make_directory", "multishot_receive", "defer_taskrun"}) {
    CAPTURE(older);
    CHECK(ring[older] == plain[older]);
  }
}

TEST_CASE("it_says_the_same_to_people") {
  auto f = run({weir_probe()});
  CHECK(f.code == 0);
  for (auto* part :
       {"kernel", "io_uring", "/dev/net/tun", "user namespaces", "descriptors", "asio", "stack"}) {
    CAPTURE(part);
    CHECK(f.out.find(part) != std::string::npos);
  }
}

TEST_CASE("an_option_that_it_does_not_know_is_an_error") {
  auto f = run({weir_probe(), "--jason"});
  CHECK(f.code == 2);
  CHECK(f.err.find("did you mean '--json'?") != std::string::npos);
}
