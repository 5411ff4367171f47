// IPv4 and IPv6 headers with all extension headers, whole and as ICMP quotes them: whatever comes,
// the verdict points into the packet.
#include "fuzz/fuzz_support.hpp"
#include "stack/wire/ip.hpp"

using namespace weir;
using namespace weir::fuzz;
namespace wire = weir::stack::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto packet = input(data, size).all();
  for (bool check : {true, false}) {
    auto h = wire::parse_ip(packet, check);
    if (h.status == wire::ip_status::ok) {
      claim_inside(h.payload, packet, "payload inside the packet");
      claim(h.header_length + h.payload.size() == h.total_length,
            "header and payload make the packet");
      claim(h.total_length <= packet.size(), "no longer than what came");
      claim(h.next_header_at < h.header_length, "next header's place inside the headers");
      claim(h.unfragmentable_length <= h.header_length, "unfragmentable part inside the headers");
      claim(h.is_fragment == (h.more_fragments || h.fragment_offset != 0), "what a fragment is");
    }
    if (h.status == wire::ip_status::parameter_problem)
      claim(h.problem_pointer < packet.size(), "pointer inside the packet");
  }
  auto quoted = wire::parse_quoted(packet);
  claim_inside(quoted.transport, packet, "quoted transport inside the packet");
  return 0;
}
