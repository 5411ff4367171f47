// See recorder.hpp.
#include "load/recorder.hpp"

#include <string>

namespace weir::load {
namespace {

constexpr std::int64_t silence_ns = 50'000'000;  // shorter ones are ordinary

std::uint64_t span(std::int64_t from, std::int64_t to) {
  return to > from ? static_cast<std::uint64_t>(to - from) : 0;
}

}  // namespace

recorder::recorder(const plan& of, control& shared, unsigned shard)
    : plan_(of), control_(shared), mine_(shared.counts[shard]) {}

void recorder::wrote(in_flight::request& one, std::size_t bytes, std::int64_t now) {
  one.written = now;
  if (in_window(now)) seen_.sent_bytes += bytes;
  if (counts(one.due, now)) seen_.lateness.record(span(one.could, now));
}

void recorder::came(std::int64_t now) {
  mine_.answers.fetch_add(1, std::memory_order_relaxed);
  if (!in_window(now)) return;
  ++seen_.answers;
  ++part_answers_;
  const auto silence = now - std::max(last_answer_, opened_);
  if (last_answer_ != 0 && silence > 0) {
    seen_.longest_silence_ns = std::max<std::uint64_t>(seen_.longest_silence_ns, span(0, silence));
    if (silence > silence_ns) seen_.silences_ns += span(0, silence);
  }
  last_answer_ = now;
}

void recorder::answered(const in_flight::request& one, std::int64_t now) {
  if (now - one.due > plan_.timeout.count()) return failed(one.due, "timed out", now);
  came(now);
  if (!counts(one.due, now)) return;
  seen_.latency.record(span(one.due, now));
  seen_.service.record(span(one.written, now));
  part_.record(span(one.due, now));
}

void recorder::piece(std::int64_t now) { came(now); }

void recorder::failed(std::int64_t due, std::string_view why, std::int64_t now) {
  mine_.errors.fetch_add(1, std::memory_order_relaxed);
  if (!counts(due, now)) return;
  ++seen_.errors[std::string(why)];
  ++part_errors_;
}

void recorder::unfinished(std::int64_t due) {
  if (!in_window(due)) return;
  ++seen_.unfinished;
  ++seen_.errors["no answer until the end"];
}

void recorder::open(std::int64_t now, duration cpu) {
  opened_ = part_begin_ = last_answer_ = last_caught_up_ = now;
  cpu_at_open_ = cpu;
}

void recorder::roll(std::int64_t now) {
  slice& made = seen_.slices.emplace_back();
  made.begin_s = static_cast<double>(part_begin_ - opened_) / 1e9;
  made.seconds = static_cast<double>(now - part_begin_) / 1e9;
  made.answers = part_answers_;
  made.errors = part_errors_;
  part_.for_each(
      [&](std::uint64_t value, std::uint64_t count) { made.latencies.emplace_back(value, count); });
  part_.clear();
  part_answers_ = part_errors_ = 0;
  part_begin_ = now;
}

void recorder::close(std::int64_t now, duration cpu) {
  if (now > part_begin_) roll(now);
  const auto silence = now - last_answer_;
  if (silence > silence_ns) {
    seen_.silences_ns += span(0, silence);
    seen_.longest_silence_ns = std::max<std::uint64_t>(seen_.longest_silence_ns, span(0, silence));
  }
  seen_.seconds = static_cast<double>(now - opened_) / 1e9;
  const auto used = static_cast<double>((cpu - cpu_at_open_).count()) / 1e9;
  seen_.cpu_s = used;
  seen_.busy.push_back(seen_.seconds > 0 ? used / seen_.seconds : 0);
  seen_.always_behind = plan_.mode == loop::open && last_caught_up_ < now - (now - opened_) / 4;
}

}  // namespace weir::load
