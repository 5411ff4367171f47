// The data path allocates nothing: sending a segment and taking one in, counted at operator new.

#include "support/allocations.hpp"
#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

class counting_sink final : public stack::packet_sink {
 public:
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta&) override {
    packets += parts.empty() ? 0 : 1;
    return true;
  }
  int packets = 0;
};

}  // namespace

TEST_CASE("data_path_of_a_segment_in_and_out_allocates_nothing") {
  for (bool v6 : {false, true})
    for (bool offload : {false, true}) {
      auto options = ip_options();
      options.transmit_checksum_offload = options.transmit_segmentation_offload = offload;
      counting_sink sink;
      stack::host_counters counters;
      stack::ip_layer ip(options, sink, counters);
      auto packet = tcp_packet(v6, pattern(100));
      auto data = pattern(6000);
      std::span<const std::byte> parts[] = {std::span(data).first(2500),
                                            std::span(data).subspan(2500)};
      auto reply = own_segment(v6);
      reply.gso_size = 1400;
      auto before = weir::test::allocations();
      bool delivered = true, sent = true;
      for (int i = 0; i < 100; ++i) {
        auto d = ip.input(at_ms(i), packet, {});
        delivered = delivered && std::holds_alternative<wire::tcp_segment>(d);
        sent = sent && ip.send_tcp(at_ms(i), reply, parts);
      }
      auto after = weir::test::allocations();
      CHECK(after == before);
      CHECK(delivered);
      CHECK(sent);
      CHECK(sink.packets == (offload ? 100 : 500));
    }
}
