// Places as words. The compilers keep a function as they would print it, and g++ 12 that of a
// coroutine as the function which it makes of it: what stands before the parameters is right in all
// of them.
#include "weir/detail/place.hpp"

#if defined(WEIR_HAS_PLACES)
#include <algorithm>
#include <bit>
#endif

namespace weir::detail {

// What a program asks for that agrees; the name is for the linker's message to one that does not.
#if WEIR_WITH_TASKS
const char weir_was_built_without_tasks = 0;
#else
const char weir_was_built_with_tasks = 0;
#endif

namespace {

#if defined(WEIR_HAS_PLACES)
/// Where the bracket that opens at `from` closes; the text's end where it does not.
std::size_t closing(std::string_view text, std::size_t from) {
  int depth = 0;
  for (std::size_t i = from; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '(' || c == '<' || c == '{' || c == '[') ++depth;
    if (c == ')' || c == '>' || c == '}' || c == ']') --depth;
    if (depth == 0) return i;
  }
  return text.size();
}

/// "app::session" of "weir::task<> app::session(weir::tcp_stream)".
std::string_view name_in(std::string_view pretty) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < pretty.size(); ++i) {
    const char c = pretty[i];
    if (c == ' ') begin = i + 1;
    if (c == '<' || c == '{' || c == '[') i = closing(pretty, i);
    if (c != '(') continue;
    const auto end = closing(pretty, i);
    const bool goes_on = pretty.substr(end < pretty.size() ? end + 1 : end).starts_with("::");
    const bool call = pretty.substr(begin, i - begin).ends_with("operator");
    if (!goes_on && !call) return pretty.substr(begin, i - begin);
    i = end;
  }
  return pretty.substr(begin);
}

std::string without_lambdas_parameters(std::string_view name) {
  constexpr std::string_view lambda = "<lambda(";
  std::string out;
  for (std::size_t at; (at = name.find(lambda)) != std::string_view::npos;) {
    out += std::string(name.substr(0, at)) + "<lambda>";
    name.remove_prefix(std::min(closing(name, at) + 1, name.size()));
  }
  return out += name;
}
#endif

std::string_view without_folders(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

place_in_words in_words([[maybe_unused]] source_at at) {
  place_in_words out;
#if defined(WEIR_HAS_PLACES)
  static_assert(sizeof(std::source_location) == sizeof at);
  if (at == nullptr) return out;
  const auto location = std::bit_cast<std::source_location>(at);
  out.file = location.file_name();
  out.line = location.line();
  out.function = without_lambdas_parameters(name_in(location.function_name()));
#endif
  return out;
}

std::string short_place(source_at at) {
  const auto words = in_words(at);
  if (words.file.empty()) return "?";
  return std::string(without_folders(words.file)) + ":" + std::to_string(words.line);
}

}  // namespace weir::detail
