// A result that nobody looks at is an error that nobody sees.
// expect: nodiscard
#include <weir/stack/result.hpp>

weir::result<int> compute();
int user() {
  auto kept = compute();
#ifdef MUST_NOT_COMPILE
  compute();
#endif
  return kept ? 1 : 0;
}
