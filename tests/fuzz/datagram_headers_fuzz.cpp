// UDP, ICMP, ICMPv6 and the device's own header.
#include "fuzz/fuzz_support.hpp"
#include "stack/device/vnet_header.hpp"
#include "stack/wire/icmp.hpp"
#include "stack/wire/udp.hpp"

using namespace weir;
using namespace weir::fuzz;
namespace wire = weir::stack::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = input(data, size).all();
  for (bool v6 : {false, true}) {
    auto address = v6 ? ip_address::loopback_v6() : ip_address::loopback_v4();
    for (bool verify : {false, true}) {
      wire::udp_datagram d;
      d.source = d.destination = address;
      if (wire::parse_udp(bytes, verify, d) == wire::parse_status::ok)
        claim_inside(d.payload, bytes, "payload inside the datagram");
    }
    wire::icmp_message m;
    if (wire::parse_icmp(bytes, address, address, m) == wire::parse_status::ok)
      claim_inside(m.body, bytes, "body inside the message");
  }
  auto meta = stack::read_vnet_header(bytes);
  claim(meta.has_value() == (bytes.size() >= stack::vnet_header_size),
        "a header of ten bytes, or none");
  return 0;
}
