// Finding a file below one folder (weir/http/files.hpp).
#include "weir/http/files.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace weir::http {
namespace {

constexpr std::uint64_t resolve_cached = 0x20;  // of linux/openat2.h, since 5.12
constexpr std::size_t most_segments = 32;
constexpr std::size_t longest_segment = 255;  // NAME_MAX

/// Nothing for an escape that is none, and for bytes that no file's name should have.
std::optional<std::string> decode(std::string_view text) {
  std::string out;
  if (!percent_decode(text, out)) return std::nullopt;
  for (const unsigned char c : out)
    if (c < 0x20 || c == 0x7f || c == '/') return std::nullopt;
  return out;
}

}  // namespace

std::optional<file_path> take_apart(std::string_view path) {
  file_path out;
  out.is_folder = path.ends_with('/');
  while (!path.empty()) {
    auto end = path.find('/');
    auto segment = decode(path.substr(0, end));
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (!segment) return std::nullopt;
    if (segment->empty()) continue;
    // This covers "." and "..", and what is kept out of sight (.git, .htpasswd).
    if (segment->front() == '.' || segment->size() > longest_segment) return std::nullopt;
    out.segments.push_back(std::move(*segment));
    if (out.segments.size() > most_segments) return std::nullopt;
  }
  return out;
}

std::string file_path::normal() const {
  std::string out;
  for (auto& segment : segments) {
    out += '/';
    for (unsigned char c : segment) {
      bool plain =
          std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '~';  // RFC 3986 2.3
      out += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
    }
  }
  return out + (is_folder || segments.empty() ? "/" : "");
}

std::string_view content_type_of(std::string_view file_name) {
  struct entry {
    std::string_view ending, type;
  };
  static constexpr std::array table = {
      entry{".html", "text/html; charset=utf-8"},
      entry{".css", "text/css; charset=utf-8"},
      entry{".js", "text/javascript; charset=utf-8"},
      entry{".json", "application/json"},
      entry{".txt", "text/plain; charset=utf-8"},
      entry{".md", "text/plain; charset=utf-8"},
      entry{".svg", "image/svg+xml"},
      entry{".png", "image/png"},
      entry{".jpg", "image/jpeg"},
      entry{".jpeg", "image/jpeg"},
      entry{".gif", "image/gif"},
      entry{".webp", "image/webp"},
      entry{".ico", "image/x-icon"},
      entry{".pdf", "application/pdf"},
      entry{".wasm", "application/wasm"},
      entry{".xml", "application/xml"},
      entry{".woff2", "font/woff2"},
  };
  for (auto& e : table)
    if (file_name.ends_with(e.ending)) return e.type;
  return "application/octet-stream";
}

file_root::file_root(const std::string& folder, const file_settings& settings)
    : settings_(settings) {
  folder_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) throw std::system_error(errno, std::generic_category(), folder);
}

file_root::~file_root() {
  if (folder_ >= 0) ::close(folder_);
}

file_root::found file_root::open(const file_path& path, opened& into) const {
  int at = ::openat(folder_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int reason = errno;  // of the first step that failed
  auto step = [&at, &reason](const std::string& name, int flags) {
    if (at < 0) return;
    // O_NONBLOCK: opening a pipe waits for nobody.
    int next = ::openat(at, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags);
    reason = errno;
    ::close(at);
    at = next;
  };
  for (std::size_t i = 0; i + 1 < path.segments.size(); ++i) step(path.segments[i], O_DIRECTORY);
  if (!path.segments.empty()) step(path.segments.back(), path.is_folder ? O_DIRECTORY : 0);
  if (path.is_folder || path.segments.empty()) step("index.html", 0);
  return take_opened(path, at, reason, into);
}

/// As open(), where every step is in memory (RESOLVE_CACHED, Linux 5.12).
file_root::found file_root::open_now(const file_path& path, opened& into) const {
  std::string name;
  for (const auto& segment : path.segments) name += (name.empty() ? "" : "/") + segment;
  if (path.is_folder || path.segments.empty()) name += name.empty() ? "index.html" : "/index.html";
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | resolve_cached;
  const auto at = static_cast<int>(::syscall(SYS_openat2, folder_, name.c_str(), &how, sizeof how));
  const int reason = errno;
  const bool missing = reason == ENOENT || reason == ENOTDIR || reason == ELOOP || reason == EXDEV;
  if (at < 0 && !missing) return found::unknown;
  return take_opened(path, at, reason, into);
}

file_root::found file_root::take_opened(const file_path& path, int at, int reason,
                                        opened& into) const {
  struct stat about{};
  if (at < 0 && (reason == EMFILE || reason == ENFILE || reason == ENOMEM)) return found::exhausted;
  if (at < 0 || ::fstat(at, &about) != 0 || !(S_ISREG(about.st_mode) || S_ISDIR(about.st_mode))) {
    if (at >= 0) ::close(at);
    return found::nothing;
  }
  if (S_ISDIR(about.st_mode)) {
    ::close(at);
    return path.is_folder ? found::nothing : found::folder;
  }
  into.file = open_file(at);
  into.size = static_cast<std::uint64_t>(about.st_size);
  into.modified = about.st_mtim.tv_sec;
  into.tag =
      fmt::format("\"{:x}.{:x}-{:x}\"", about.st_mtim.tv_sec, about.st_mtim.tv_nsec, into.size);
  return found::file;
}

}  // namespace weir::http
