// The parts that all actors use: the counts, the pattern, and who lives on a shard.
#include "soak/life.hpp"

#include <cstdio>

namespace soak {

std::string counts::text() const {
  const std::pair<const char*, std::uint64_t> all[] = {
      {"bytes", bytes},         {"connects", connects}, {"accepts", accepts},
      {"listens", listens},     {"lent", lent},         {"owned", owned},
      {"gathered", gathered},   {"timeouts", timeouts}, {"cancels", cancels},
      {"aborts", aborts},       {"submits", submits},   {"moves", moves},
      {"datagrams", datagrams}, {"children", children}};
  std::string out;
  for (const auto& [name, value] : all) {
    if (!out.empty()) out += ", ";
    out += std::to_string(value) + " " + name;
  }
  return out;
}

std::uint64_t counts::sum() const {
  return bytes + connects + accepts + listens + lent + owned + gathered + timeouts + cancels +
         aborts + submits + moves + datagrams + children;
}

void life::fault(const std::string& what) {
  ++faults_;
  std::printf("FAULT (%s, seed %llu): %s\n", backend.c_str(), static_cast<unsigned long long>(seed),
              what.c_str());
  std::fflush(stdout);
}

void fill_pattern(std::uint64_t key, std::uint64_t from, std::span<std::byte> into) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] = byte_at(key, from + i);
}

bool check(life& l, const char* where, std::uint64_t key, std::uint64_t from,
           std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == byte_at(key, from + i)) continue;
    l.fault(std::string(where) + ": byte " + std::to_string(from + i) + " of stream " +
            std::to_string(key) + " is wrong, " + std::to_string(i) + " into a part of " +
            std::to_string(bytes.size()));
    return false;
  }
  l.count.bytes += bytes.size();
  return true;
}

bool expected_end(std::error_code ec) {
  return waited_out(ec) || ec == std::errc::connection_reset || ec == std::errc::broken_pipe ||
         ec == std::errc::not_connected || ec == weir::error::end_of_stream ||
         ec == weir::error::closed;
}

task<bool> nap(weir::duration time) {
  weir::event never;
  auto ec = co_await never.wait().timeout(time).nothrow();
  co_return ec == std::errc::timed_out;
}

task<> pace(const life& l, dice& d) {
  if (l.simulated())
    co_await weir::sleep_for(std::chrono::microseconds(1 + d.below(10'000)));
  else if (d.one_in(40))
    co_await weir::sleep_for(d.up_to_us(2000));
}

task<> inhabit(life& l, shard& s, endpoint own, std::vector<shard*> others, unsigned number) {
  weir::scope actors(s);
  auto plan = l.actor(number);
  const auto base = 1000 * (number + 1);
  for (unsigned i = 0; i < life::ports; ++i)
    actors.spawn(listeners(l, s, endpoint{own.address, static_cast<std::uint16_t>(own.port + i)},
                           others, base + i));
  for (unsigned i = 0; i < 4 + plan.below(4); ++i) actors.spawn(clients(l, s, base + 100 + i));
  for (unsigned i = 0; i < 2; ++i) actors.spawn(exact_pairs(l, s, own.address, base + 200 + i));
  if (!others.empty())
    for (unsigned i = 0; i < 3; ++i) actors.spawn(submitters(l, s, others, base + 300 + i));
  if (!l.simulated()) actors.spawn(children(l, s, base + 500));
  actors.spawn(datagrams(l, s, own, base + 400));
  actors.on_failure([&l](std::exception_ptr why) {
    try {
      std::rethrow_exception(why);
    } catch (const weir::io_error& e) {
      if (e.code() != std::errc::operation_canceled)
        l.fault(std::string("an actor threw: ") + e.what());
    } catch (const std::exception& e) {
      l.fault(std::string("an actor threw: ") + e.what());
    }
  });
  while (l.going(s)) {
    const bool slept = co_await nap(2ms);
    if (!slept) break;
  }
  // Some lives end in an orderly way, some are cut off.
  const auto patience = plan.one_in(3) ? weir::duration{} : plan.up_to_us(300'000);
  co_await actors.drain(patience);
}

}  // namespace soak
