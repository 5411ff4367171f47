// See rendering.hpp: what each protocol's requests are as bytes.
#include "load/rendering.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <stdexcept>

namespace weir::load {
namespace {

constexpr std::array<std::string_view, 3> place_names{"{n}", "{connection}", "{random}"};
constexpr std::array<std::size_t, 3> place_widths{10, 5, 16};

bool has_field(const std::vector<std::string>& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(), [&](const std::string& line) {
    return line.size() > name.size() && line[name.size()] == ':' &&
           std::equal(name.begin(), name.end(), line.begin(),
                      [](char a, char b) { return (a | 0x20) == (b | 0x20); });
  });
}

rendering http_request(const plan& of, const request& asked) {
  const rendering body(asked.body);
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\n", asked.method, asked.path.empty() ? of.to.path : asked.path);
  if (!has_field(asked.headers, "Host")) head += fmt::format("Host: {}\r\n", of.to.authority());
  for (const auto& line : asked.headers) head += line + "\r\n";
  if (of.requests_per_connection == 1) head += "Connection: close\r\n";
  if (!asked.body.empty()) head += fmt::format("Content-Length: {}\r\n", body.size());
  rendering out(head + "\r\n");
  out.add(body);
  return out;
}

rendering redis_request(const request& asked) {
  const auto words = split_words(asked.command);
  if (words.empty()) throw std::invalid_argument("a redis command has one word at least");
  rendering out;
  out.add(fmt::format("*{}\r\n", words.size()));
  for (const auto& word : words) {
    const rendering rendered(word);
    out.add(fmt::format("${}\r\n", rendered.size()));
    out.add(rendered);
    out.add("\r\n");
  }
  return out;
}

}  // namespace

rendering::rendering(std::string_view text) {
  while (!text.empty()) {
    std::size_t name = place_names.size();
    for (std::size_t i = 0; i < place_names.size(); ++i)
      if (text.starts_with(place_names[i])) name = i;
    if (name < place_names.size()) {
      places_.push_back({text_.size(), static_cast<filling>(name)});
      text_.append(place_widths[name], '0');
      text.remove_prefix(place_names[name].size());
    } else {
      text_ += text[0];
      text.remove_prefix(1);
    }
  }
}

void rendering::add(const rendering& other) {
  for (const auto& one : other.places_) places_.push_back({text_.size() + one.at, one.with});
  text_ += other.text_;
}

void rendering::append_to(std::string& out, std::uint64_t n, unsigned connection,
                          std::uint64_t random) const {
  const std::size_t start = out.size();
  out += text_;
  for (const auto& one : places_) {
    char* at = out.data() + start + one.at;
    switch (one.with) {
      case filling::number: fmt::format_to(at, "{:010}", n % 10'000'000'000u); break;
      case filling::connection: fmt::format_to(at, "{:05}", connection % 100'000); break;
      case filling::random: fmt::format_to(at, "{:016x}", random); break;
    }
  }
}

request_source::request_source(const plan& of) {
  double total = 0;
  for (const auto& asked : of.requests) total += asked.weight;
  if (of.requests.empty() || !(total > 0))
    throw std::invalid_argument("a load needs a request with a weight above 0");
  double sum = 0;
  for (const auto& asked : of.requests) {
    one& made = all_.emplace_back();
    made.think = asked.think;
    made.head = asked.method == "HEAD";
    if (of.to.http())
      made.bytes = http_request(of, asked);
    else if (of.to.kind == scheme::redis)
      made.bytes = redis_request(asked);
    else
      made.bytes = rendering(asked.body);
    sum += asked.weight / total;
    up_to_.push_back(sum);
  }
  up_to_.back() = 1;
}

std::size_t request_source::choose(std::uint64_t random) const {
  if (all_.size() == 1) return 0;
  const double place = static_cast<double>(random >> 11) * 0x1.0p-53;
  const auto at = std::upper_bound(up_to_.begin(), up_to_.end(), place);
  return std::min<std::size_t>(static_cast<std::size_t>(at - up_to_.begin()), all_.size() - 1);
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> out;
  bool open = false, quoted = false;
  for (const char c : text) {
    if (c == '"') {
      if (!open && !quoted) out.emplace_back();
      quoted = !quoted;
      open = true;
    } else if (c == ' ' && !quoted) {
      open = false;
    } else {
      if (!open) out.emplace_back();
      open = true;
      out.back() += c;
    }
  }
  if (quoted) throw std::invalid_argument(fmt::format("`{}`: a quote is not closed", text));
  return out;
}

}  // namespace weir::load
