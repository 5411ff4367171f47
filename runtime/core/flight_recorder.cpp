// The ring. A reader that sees a word of an event sees, by its release, that the event before it
// was counted as written: so it knows which of what it copied may be torn.
#include "runtime/core/flight_recorder.hpp"

#include <algorithm>
#include <cstring>

#include "weir/error.hpp"

namespace weir::detail {

using kind = flight_event::kind;

void flight_event::set_error(std::error_code from) noexcept {
  of_weir = from.category() == error_category();
  error = from.value();
}

const char* words_of(kind what) noexcept {
  static constexpr const char* all[] = {
#define WEIR_X(name, words, about) words,
      WEIR_FLIGHT_KINDS(WEIR_X)
#undef WEIR_X
  };
  return all[static_cast<std::size_t>(what)];
}

flight_about about_of(kind what) noexcept {
  static constexpr flight_about all[] = {
#define WEIR_X(name, words, about) flight_about::about,
      WEIR_FLIGHT_KINDS(WEIR_X)
#undef WEIR_X
  };
  return all[static_cast<std::size_t>(what)];
}

flight_recorder::flight_recorder(std::size_t events)
    : size_(std::max<std::size_t>(events, 1)), slots_(new slot[size_ + 1]()) {}

bool flight_recorder::goes_with_last(const flight_event& event) const noexcept {
  const bool repeats = event.what == kind::counted || event.what == kind::sent_again ||
                       event.what == kind::task_refused || event.what == kind::timed_out;
  return repeats && written_.load(std::memory_order_relaxed) != 0 && last_.what == event.what &&
         last_.about == event.about && last_.peer == event.peer && last_.port == event.port &&
         event.at - last_.at < together;
}

void flight_recorder::put(std::uint64_t index, const flight_event& event) noexcept {
  std::array<std::uint64_t, words> raw;
  std::memcpy(raw.data(), &event, sizeof event);
  auto& into = slots_[index % (size_ + 1)];
  for (std::size_t i = 0; i < words; ++i) into[i].store(raw[i], std::memory_order_release);
}

void flight_recorder::add(const flight_event& event) noexcept {
  const auto index = written_.load(std::memory_order_relaxed);
  if (goes_with_last(event)) {
    last_.count += event.count;
    last_.lasted_us = static_cast<std::uint32_t>((event.at - last_.at).count() / 1000);
    return put(index - 1, last_);
  }
  last_ = event;
  put(index, event);
  written_.store(index + 1, std::memory_order_release);
}

std::size_t flight_recorder::last(std::span<flight_event> into) const noexcept {
  const auto end = written_.load(std::memory_order_acquire);
  const auto most = std::min<std::uint64_t>({end, size_, into.size()});
  const auto first = end - most;
  for (auto i = first; i < end; ++i) {
    std::array<std::uint64_t, words> raw;
    const auto& from = slots_[i % (size_ + 1)];
    for (std::size_t w = 0; w < words; ++w) raw[w] = from[w].load(std::memory_order_acquire);
    std::memcpy(static_cast<void*>(&into[i - first]), raw.data(), sizeof(flight_event));
  }
  // The shard may be writing the event behind those that it has counted, over the one before the
  // oldest that it keeps.
  const auto now = written_.load(std::memory_order_acquire);
  const auto whole = now - std::min<std::uint64_t>(now, size_);
  if (whole <= first) return most;
  const auto torn = std::min(most, whole - first);
  std::copy(into.begin() + static_cast<std::ptrdiff_t>(torn),
            into.begin() + static_cast<std::ptrdiff_t>(most), into.begin());
  return most - torn;
}

}  // namespace weir::detail
