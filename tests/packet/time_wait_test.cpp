// TIME-WAIT: what it shrugs off (RFC 1337) and which SYN may end it (RFC 6191).
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// A connection that we closed and that waits: RCV.NXT is 2, the last timestamp 200.
void wait_out(script& t, bool timestamps) {
  t.establish(timestamps ? "<mss 1460,TS 100 0>" : "<mss 1460>");
  t.shutdown();
  const auto fin = t.take();
  t.in(timestamps ? "F. 1 ack 2 <TS 200 " + std::to_string(fin.options.timestamps->value) + ">"
                  : std::string("F. 1 ack 2"));
  t.skip();
  REQUIRE(t.state() == tcp_state::time_wait);
  t.close();
}
bool waits(script& t) { return t.h().memory_in_use() > 0; }

}  // namespace

// covers: 1337-1
TEST_CASE("no reset ends TIME-WAIT early") {
  for (const char* reset : {"R 2 win 0", "R. 2 ack 2 win 0", "R 3 win 0", "R 0 win 0", "R 1"}) {
    CAPTURE(reset);
    script t;
    wait_out(t, false);
    t.in(reset);
    t.quiet();
    CHECK(waits(t));
    t.after(59s);
    CHECK(waits(t));
    t.after(2s);
    CHECK_FALSE(waits(t));
  }
}

// covers: 1337-1
TEST_CASE("old duplicates in TIME-WAIT are acknowledged at most and disturb nobody") {
  script t;
  wait_out(t, false);
  t.in("P. 1:500 ack 1");  // hazard H1 and H2: old data and old acknowledgements
  t.out(". 2 ack 2");
  t.after(1s);
  t.in(". 1 ack 1");
  t.out(". 2 ack 2");
  t.after(1s);
  t.in("S 0 <mss 1460>");  // an old SYN
  t.quiet();
  CHECK(waits(t));
  t.in("F. 1 ack 2");  // the FIN again: acknowledged, and the wait begins anew
  t.out(". 2 ack 2");
  t.after(59s);
  CHECK(waits(t));
  t.after(2s);
  CHECK_FALSE(waits(t));
}

// covers: 6191-1
TEST_CASE("with timestamps a later one reopens, an equal one with a later number, none with that") {
  struct {
    int number;  // beside RCV.NXT
    int stamp;   // 0: none
    bool reopens;
  } const cases[] = {{-5000, 201, true}, {5000, 201, true},  {5000, 200, true}, {0, 200, false},
                     {-1, 200, false},   {5000, 199, false}, {-1, 199, false},  {1, 0, true},
                     {0, 0, false},      {-5000, 0, false}};
  for (const auto& c : cases) {
    CAPTURE(c.number);
    CAPTURE(c.stamp);
    script t;
    wait_out(t, true);
    t.peer_isn += static_cast<std::uint32_t>(c.number) + 2;
    t.in(c.stamp == 0 ? std::string("S 0 <mss 1460>")
                      : "S 0 <mss 1460,TS " + std::to_string(c.stamp) + " 0>");
    CHECK(t.sent() == (c.reopens ? 1 : 0));
    CHECK(t.count(counter::time_wait_recycled) == (c.reopens ? 1 : 0));
    if (c.reopens) t.out("S. 0 ack 1");
  }
}

// covers: 6191-2
TEST_CASE("without timestamps a later number reopens, or timestamps that would now be used") {
  struct {
    int number;
    bool stamp;
    bool enabled;
    bool reopens;
  } const cases[] = {{1, false, true, true},      {0, false, true, false},
                     {-5000, false, true, false}, {-5000, true, true, true},
                     {0, true, true, true},       {-5000, true, false, false},
                     {1, true, false, true}};
  for (const auto& c : cases) {
    CAPTURE(c.number);
    CAPTURE(c.stamp);
    CAPTURE(c.enabled);
    host_options o;
    o.tcp.timestamps = c.enabled;
    script t(o);
    wait_out(t, false);
    t.peer_isn += static_cast<std::uint32_t>(c.number) + 2;
    t.in(c.stamp ? "S 0 <mss 1460,TS 5 0>" : "S 0 <mss 1460>");
    CHECK(t.sent() == (c.reopens ? 1 : 0));
    if (c.reopens) t.out("S. 0 ack 1");
  }
}
