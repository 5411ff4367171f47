// The capture file: its blocks byte by byte, and what happens when it cannot be written.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/observe/pcapng.hpp"
#include "weir/error.hpp"

using weir::instant;
using weir::detail::packet_direction;
using weir::detail::pcapng_encoder;
using weir::detail::pcapng_file;

namespace {

std::uint32_t word(std::span<const std::byte> at, std::size_t offset) {
  std::uint32_t v = 0;
  std::memcpy(&v, at.data() + offset, sizeof v);
  return v;
}

struct block {
  std::uint32_t type;
  std::span<const std::byte> body;
};

// Walks the blocks as a reader would, and checks the frames around them.
std::vector<block> blocks_of(std::span<const std::byte> file) {
  std::vector<block> out;
  while (!file.empty()) {
    REQUIRE(file.size() >= 12);
    auto length = word(file, 4);
    REQUIRE(length % 4 == 0);
    REQUIRE((length >= 12 && length <= file.size()));
    REQUIRE(word(file, length - 4) == length);
    out.push_back({word(file, 0), file.subspan(8, length - 12)});
    file = file.subspan(length);
  }
  return out;
}

struct option {
  unsigned code;
  std::string value;
  bool operator==(const option&) const = default;
};

// Walks the options at the end of a block's body, which has to end with the one that says so.
std::vector<option> options_of(std::span<const std::byte> at) {
  std::vector<option> out;
  for (;;) {
    REQUIRE(at.size() >= 4);
    const auto head = word(at, 0);
    const unsigned code = head & 0xffff, length = head >> 16, padded = (length + 3) & ~3u;
    REQUIRE(at.size() >= 4 + padded);
    if (code == 0) {
      CHECK(length == 0);
      CHECK(at.size() == 4);
      return out;
    }
    out.push_back({code, std::string(reinterpret_cast<const char*>(at.data()) + 4, length)});
    at = at.subspan(4 + padded);
  }
}

std::string temporary_path() {
  char name[] = "/tmp/weir-pcapng-XXXXXX";
  int fd = ::mkstemp(name);
  REQUIRE(fd >= 0);
  ::close(fd);
  return name;
}

std::vector<std::byte> contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("the_blocks_of_a_capture_are_as_the_format_says") {
  pcapng_encoder encoder;
  encoder.section_header("weir");
  encoder.interface_description("10.0.0.1", 0);
  const std::byte first[] = {std::byte{0x45}, std::byte{2}, std::byte{3}},
                  second[] = {std::byte{4}, std::byte{5}};
  std::span<const std::byte> parts[] = {first, second};
  encoder.enhanced_packet(0, 0x1122334455667788ull, packet_direction::sent, parts);

  auto blocks = blocks_of(encoder.buffer());
  REQUIRE(blocks.size() == 3);
  CHECK(blocks[0].type == 0x0a0d0d0a);
  CHECK(word(blocks[0].body, 0) == 0x1a2b3c4d);
  CHECK(word(blocks[0].body, 4) == 1);  // version 1.0
  CHECK(word(blocks[0].body, 8) == 0xffffffff);
  CHECK(word(blocks[0].body, 12) == 0xffffffff);
  CHECK((options_of(blocks[0].body.subspan(16)) == std::vector<option>{{4, "weir"}}));
  CHECK(blocks[1].type == 1);
  CHECK((word(blocks[1].body, 0) & 0xffff) == 0);  // LINKTYPE_NULL
  CHECK(word(blocks[1].body, 4) == 0);             // packets are not cut
  CHECK((options_of(blocks[1].body.subspan(8)) ==
         std::vector<option>{{2, "10.0.0.1"}, {9, "\x09"}}));  // nanoseconds
  CHECK(blocks[2].type == 6);
  CHECK(word(blocks[2].body, 0) == 0);
  CHECK(word(blocks[2].body, 4) == 0x11223344);
  CHECK(word(blocks[2].body, 8) == 0x55667788);
  CHECK(word(blocks[2].body, 12) == 9);
  CHECK(word(blocks[2].body, 16) == 9);
  CHECK(word(blocks[2].body, 20) == 2);  // the family: IPv4
  CHECK(std::to_integer<int>(blocks[2].body[28]) == 5);
  CHECK(std::to_integer<int>(blocks[2].body[29]) == 0);  // padding
  CHECK(word(blocks[2].body, 32) == (4u << 16 | 2u));    // epb_flags, 4 bytes
  CHECK(word(blocks[2].body, 36) == 2);                  // outbound
  CHECK(options_of(blocks[2].body.subspan(32)).size() == 1);
}

TEST_CASE("a_capture_is_for_its_owner_only") {
  const auto path = temporary_path();
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  const auto mode = [&] {
    struct stat about{};
    REQUIRE(::stat(path.c_str(), &about) == 0);
    return about.st_mode & 07777;
  };
  {
    pcapng_file file(path);
  }
  CHECK(mode() == 0600);
  REQUIRE(::unlink(path.c_str()) == 0);
  const auto mask = ::umask(0);
  {
    pcapng_file file(path);
  }
  ::umask(mask);
  CHECK(mode() == 0600);
  ::unlink(path.c_str());
}

TEST_CASE("a_capture_follows_no_link_and_waits_for_nobody") {
  const auto target = temporary_path(), path = temporary_path();
  std::ofstream(target) << "somebody's";
  const auto refused = [&](std::errc why) {
    try {
      pcapng_file file(path);
    } catch (const weir::io_error& error) {
      CHECK(error.code() == why);
      return true;
    }
    return false;
  };
  REQUIRE(::unlink(path.c_str()) == 0);
  REQUIRE(::symlink(target.c_str(), path.c_str()) == 0);
  CHECK(refused(std::errc::too_many_symbolic_link_levels));
  REQUIRE(::unlink(path.c_str()) == 0);
  REQUIRE(::link(target.c_str(), path.c_str()) == 0);
  CHECK(refused(std::errc::too_many_links));
  REQUIRE(::unlink(path.c_str()) == 0);
  CHECK(contents(target).size() == 10);
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(refused(std::errc::no_such_device_or_address));  // nobody reads
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  CHECK(refused(std::errc::invalid_argument));
  ::close(reader);
  ::unlink(path.c_str());
  ::unlink(target.c_str());
}

TEST_CASE("a_capture_holds_every_packet_of_every_interface") {
  auto path = temporary_path();
  {
    pcapng_file file(path);
    auto a = file.add_interface("a"), b = file.add_interface("b");
    std::vector<std::byte> packet(1400, std::byte{7});
    std::span<const std::byte> part(packet);
    for (int i = 0; i < 500; ++i) {  // more than the buffer holds
      a->packet(instant::from_ns(i), packet_direction::sent, std::span(&part, 1));
      b->packet(instant::from_ns(i), packet_direction::received, std::span(&part, 1));
    }
    CHECK(file.packets() == 1000);
  }
  auto file = contents(path);
  auto blocks = blocks_of(file);
  CHECK(blocks.size() == 1003);
  std::size_t of_b = 0;
  for (const auto& block : blocks) of_b += block.type == 6 && word(block.body, 0) == 1 ? 1 : 0;
  CHECK(of_b == 500);
  ::unlink(path.c_str());
}

TEST_CASE("an_ipv6_packet_is_marked_as_one") {
  pcapng_encoder encoder;
  const std::byte first[] = {std::byte{0x60}};
  std::span<const std::byte> part(first);
  encoder.enhanced_packet(0, 0, packet_direction::received, std::span(&part, 1));
  CHECK(word(blocks_of(encoder.buffer())[0].body, 20) == 30);
}

TEST_CASE("an_idle_capture_reaches_the_file_within_a_fifth_of_a_second") {
  auto path = temporary_path();
  pcapng_file file(path);
  auto tap = file.add_interface("a");
  const std::byte one[1] = {};
  std::span<const std::byte> part(one);
  tap->packet(instant::from_ns(0), packet_direction::sent, std::span(&part, 1));
  tap->idle(instant::from_ns(1000));
  CHECK(contents(path).empty());
  tap->idle(instant() + pcapng_file::longest_wait);
  CHECK(blocks_of(contents(path)).size() == 3);
  ::unlink(path.c_str());
}

TEST_CASE("a_capture_that_cannot_be_made_says_where") {
  CHECK_THROWS_WITH_AS(pcapng_file("/nonexistent/trace.pcapng"),
                       doctest::Contains("/nonexistent/trace.pcapng"), weir::io_error);
}

TEST_CASE("a_full_disk_ends_the_capture_and_nothing_else") {
  const auto path = temporary_path();
  pcapng_file file(path);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit nothing{0, before.rlim_max};
  const auto on_excess = ::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &nothing) == 0);
  auto tap = file.add_interface("a");
  const std::byte one[1] = {};
  std::span<const std::byte> part(one);
  tap->packet(instant::from_ns(0), packet_direction::sent, std::span(&part, 1));
  file.flush();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  ::signal(SIGXFSZ, on_excess);
  ::unlink(path.c_str());
  CHECK(file.failed());
  tap->packet(instant::from_ns(1), packet_direction::sent, std::span(&part, 1));
  CHECK(file.packets() == 1);
}
