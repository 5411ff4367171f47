// virtio_net_hdr to and from what the stack knows of packets.
#include <doctest/doctest.h>

#include "stack/device/vnet_header.hpp"
#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;
using namespace weir::stack;

namespace {

bytes header(const transmit_meta& meta) {
  bytes out(vnet_header_size, std::byte{0xff});
  write_vnet_header(out.data(), meta);
  return out;
}

vnet::layout fields(const transmit_meta& meta) {
  auto data = header(meta);
  vnet::layout out;
  std::memcpy(&out, data.data(), sizeof out);
  return out;
}

bytes frame(const vnet::layout& l) {
  bytes out(sizeof l);
  std::memcpy(out.data(), &l, sizeof l);
  return out;
}

}  // namespace

TEST_CASE("vnet_header_of_a_plain_packet_says_only_its_header_length") {
  transmit_meta meta;
  meta.header_length = 52;
  auto l = fields(meta);
  CHECK(l.flags == 0);
  CHECK(l.gso_type == vnet::gso_none);
  CHECK(l.header_length == 52);
  CHECK(l.gso_size == 0);
  CHECK(l.checksum_start == 0);
}

TEST_CASE("vnet_header_asks_for_checksum_and_segmentation_by_family") {
  for (auto family : {ip_family::v4, ip_family::v6}) {
    transmit_meta meta;
    meta.family = family, meta.header_length = 66, meta.gso_size = 1448;
    meta.needs_checksum = true, meta.checksum_start = 20, meta.checksum_offset = 16;
    auto l = fields(meta);
    CHECK(l.flags == vnet::needs_checksum);
    CHECK(l.gso_type == (family == ip_family::v4 ? vnet::gso_tcp_v4 : vnet::gso_tcp_v6));
    CHECK(l.gso_size == 1448);
    CHECK(l.header_length == 66);
    CHECK(l.checksum_start == 20);
    CHECK(l.checksum_offset == 16);
  }
}

TEST_CASE("vnet_header_received_tells_checksum_and_super_segments") {
  vnet::layout l;
  CHECK(!read_vnet_header(frame(l))->checksum_good);
  l.flags = vnet::data_valid;
  CHECK(read_vnet_header(frame(l))->checksum_good);
  l.flags = vnet::needs_checksum;
  CHECK(read_vnet_header(frame(l))->checksum_good);
  l.gso_size = 1400;
  CHECK(read_vnet_header(frame(l))->gso_size == 0);  // no type: a stray number
  for (unsigned type : {1u, 4u, 0x81u, 0x84u}) {
    l.gso_type = static_cast<std::uint8_t>(type);
    CHECK(read_vnet_header(frame(l))->gso_size == 1400);
  }
  l.gso_type = 77;
  CHECK(read_vnet_header(frame(l))->gso_size == 0);
}

TEST_CASE("vnet_header_that_is_cut_short_is_refused") {
  for (std::size_t n = 0; n < vnet_header_size; ++n) {
    exact_copy part{bytes(n)};
    CHECK(!read_vnet_header(part.view()));
  }
}
