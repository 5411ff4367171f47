// A place in the source, as one word: a pointer to what the compiler keeps of a line (file, line,
// function). A coroutine carries the place of the co_await that it began last, so that whoever asks
// what it waits for can be told. Built without WEIR_WITH_TASKS nothing of it is there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#ifndef WEIR_WITH_TASKS
#define WEIR_WITH_TASKS 1  // as weir is built where nobody says otherwise
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_source_location)
#define WEIR_HAS_PLACES 1
#endif
#endif

#if defined(WEIR_HAS_PLACES)
#include <source_location>
/// As the default of a parameter: where the call stands.
#define WEIR_HERE __builtin_source_location()
#else
#define WEIR_HERE nullptr
#endif

namespace weir::detail {

// It changes the layout of a coroutine: a program that was compiled with the other setting than
// weir does not link.
#if WEIR_WITH_TASKS
extern const char weir_was_built_without_tasks;
[[gnu::used]] inline const char* const agreed_on_tasks = &weir_was_built_without_tasks;
#else
extern const char weir_was_built_with_tasks;
[[gnu::used]] inline const char* const agreed_on_tasks = &weir_was_built_with_tasks;
#endif

#if defined(WEIR_HAS_PLACES)
using source_at = decltype(__builtin_source_location());
#else
using source_at = const void*;
#endif

/// The same for people. Empty where there is no place.
struct place_in_words {
  std::string_view file;  ///< as the compiler was given it
  std::uint_least32_t line = 0;
  std::string function;  ///< without its parameters and result
};
/// Of runtime/core/place.cpp.
place_in_words in_words(source_at at);
/// "file.cpp:12", without the folders.
std::string short_place(source_at at);

}  // namespace weir::detail
