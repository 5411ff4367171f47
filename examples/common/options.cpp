// See options.hpp.
#include "common/options.hpp"

#include <charconv>

#include <fmt/format.h>

namespace examples {
namespace {

constexpr double longest_s = 1e6;

template <class Number>
bool read_number(std::string_view text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

void number_option(weir::config_parser& parser, const std::string& option,
                   const std::string& placeholder, const std::string& help, std::uint64_t least,
                   std::uint64_t most, std::uint64_t& target) {
  auto accept = [least, most, &target](std::string_view text) -> std::string {
    std::uint64_t number = 0;
    if (!read_number(text, number) || number < least || number > most)
      return fmt::format("must be a number from {} to {}", least, most);
    target = number;
    return "";
  };
  parser.value(option, placeholder, help, std::to_string(target), accept);
}

void seconds_option(weir::config_parser& parser, const std::string& option, const std::string& help,
                    weir::duration& target) {
  auto accept = [&target](std::string_view text) -> std::string {
    double seconds = 0;
    if (!read_number(text, seconds) || !(seconds >= 0) || seconds > longest_s)
      return fmt::format("must be a number of seconds from 0 to {}, where 0 is no limit",
                         longest_s);
    target = std::chrono::duration_cast<weir::duration>(std::chrono::duration<double>(seconds));
    if (target.count() == 0) target = weir::no_limit;
    return "";
  };
  auto seconds = std::chrono::duration<double>(target).count();
  parser.value(option, "SECONDS", help + "; 0 = no limit",
               fmt::format("{:g}", seconds < 0 ? 0 : seconds), accept);
}

}  // namespace examples
