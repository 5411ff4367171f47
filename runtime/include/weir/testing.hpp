// Streams for tests of what is written against any_stream: one that follows a script, one that cuts
// another stream's bytes at a chosen place, one that fails at a chosen operation. The last two make
// loops over every place:
//
//   for (weir::testing::cut at{1};; at = {at.place + 1}) {
//     auto peer = weir::testing::cutting(std::move(inner), at);
//     ...                            // what must not depend on where bytes are cut
//     if (!at.reached) break;        // behind the last byte: every boundary has had its turn
//   }
//
// They follow the rules of every stream; their shard's thread only. A cut and a fault outlive the
// handles of the streams that they steer. A layer that was closed lets go of its inner stream a
// turn later: yield before asking a script below one whether it was closed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/shard.hpp"
#include "weir/stream.hpp"

namespace weir::testing {

/// One line of a script, as the stream's peer would do it.
struct step {
  enum class kind : unsigned char { gives, expects, ends, fails };
  kind what = kind::ends;
  std::string bytes;
  std::error_code error;
};
/// The peer sends these, as one piece: no read gets more than a piece, a longer one is read on.
inline step gives(std::string_view bytes) { return {step::kind::gives, std::string(bytes), {}}; }
/// The peer wants to read exactly these before it goes on, in pieces of any size.
inline step expects(std::string_view bytes) {
  return {step::kind::expects, std::string(bytes), {}};
}
/// The peer sends nothing more.
inline step ends() { return {}; }
/// The connection breaks, once all before was done.
inline step fails(std::error_code error) { return {step::kind::fails, {}, error}; }
inline step fails(std::errc error) { return fails(std::make_error_code(error)); }

/// A connection whose peer is a list of steps. What it gives waits for what is expected before it;
/// what is expected may be written before what is given was read. A write that the script does not
/// expect, and one behind its end, is a complaint and fails with protocol_error. A read behind the
/// last step waits.
class script {
 public:
  script(shard& owner, std::vector<step> steps);
  ~script();
  script(const script&) = delete;
  script& operator=(const script&) = delete;

  /// The connection; once.
  any_stream stream();

  /// What was not as the script has it, or is left of it: "step 3: expected \"b\", written \"x\"".
  /// Empty: everything was done. (Whether its user read to the end is not judged.)
  std::string complaint() const;
  /// How the user let go of it.
  bool closed() const;
  bool aborted() const;
  bool send_ended() const;

 private:
  class impl;
  impl* impl_;
};

/// Where cutting() cuts: behind this many bytes, in both directions.
struct cut {
  std::size_t place = 1;
  bool reached = false;  ///< there was a byte behind it
};
/// What `inner` carries, cut at one place: no read and no write of the inner stream goes across it.
/// With place 0 every byte comes alone, and goes alone.
any_stream cutting(any_stream inner, cut& at);

/// What failing() does.
struct fault {
  std::size_t operation = 0;  ///< the inner stream's reads and writes, counted together from 0
  std::error_code error = std::make_error_code(std::errc::connection_reset);
  bool reached = false;
};
/// `inner`, which breaks with the fault's error instead of its n-th operation.
any_stream failing(any_stream inner, fault& of);

}  // namespace weir::testing
