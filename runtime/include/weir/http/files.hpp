// Files below one folder as answers: content types, validators and conditional requests (RFC 9110
// 13), one range (14), and compressed siblings. Nothing outside the folder can be reached: a path
// is taken apart and opened step by step; "..", hidden names and symbolic links are refused.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/request.hpp"
#include "weir/http/response.hpp"

namespace weir::http {

struct file_settings {
  bool precompressed = false;  ///< answer with NAME.zst or NAME.gz where it is there and wanted
};

/// The path's segments, decoded: "/a/b%20c" is {"a", "b c"}.
struct file_path {
  std::vector<std::string> segments;
  bool is_folder = false;      ///< it ended in a slash
  std::string normal() const;  ///< encoded again, with one slash between segments
};
/// Nothing for what must not be followed. `path` is a target's, without its query.
std::optional<file_path> take_apart(std::string_view path);

std::string_view content_type_of(std::string_view file_name);

class file_root {
 public:
  enum class found : std::uint8_t {
    file,
    folder,
    nothing,
    exhausted,  ///< out of descriptors or memory: it may be there
    unknown,    ///< the disk has to be asked (of answer_now() alone)
  };
  struct opened {
    open_file file;
    std::uint64_t size = 0;
    std::int64_t modified = 0;  ///< seconds since 1970
    std::string tag;            ///< of this content: "\"modified-size\""
  };

  /// Throws std::system_error when it is no folder that can be read.
  explicit file_root(const std::string& folder, const file_settings& settings = {});
  file_root(const file_root&) = delete;
  file_root& operator=(const file_root&) = delete;
  ~file_root();

  /// A folder's path gives its index.html; without its last slash it is found as a folder. It
  /// blocks for as long as the disk takes, as answer() does: on a shard they are called through
  /// weir::offload(), and any number at once. (Bodies are read so by the server itself.)
  found open(const file_path& path, opened& into) const;

  /// The answer to GET and HEAD; 405 for other methods, 404, 301 to a folder's slash, 503 while
  /// descriptors are lacking (counted).
  response answer(const request& asked);
  /// The same where nothing has to be waited for, since all is in memory; else nothing: offload()
  /// answer() then.
  std::optional<response> answer_now(const request& asked);
  std::uint64_t exhausted() const { return exhausted_; }

 private:
  std::optional<response> answer(const request& asked, bool now);
  bool prefer_compressed(const request& asked, const file_path& path, opened& file, response& out,
                         bool now) const;
  found open_now(const file_path& path, opened& into) const;
  found take_opened(const file_path& path, int at, int reason, opened& into) const;

  int folder_ = -1;
  file_settings settings_;
  std::atomic<std::uint64_t> exhausted_ = 0;
};

/// Which part of `size` bytes a Range field asks for (RFC 9110 14.1.2).
struct byte_range {
  enum class kind : std::uint8_t { whole, part, unsatisfiable };
  kind what = kind::whole;
  std::uint64_t first = 0, length = 0;
};
/// Several ranges, another unit and what is malformed are answered whole, as a server may.
byte_range read_range(std::string_view range, std::uint64_t size);

/// "Sun, 06 Nov 1994 08:49:37 GMT", and back: the obsolete forms are not read.
std::string http_date(std::int64_t seconds_since_1970);
std::optional<std::int64_t> read_http_date(std::string_view text);

}  // namespace weir::http
