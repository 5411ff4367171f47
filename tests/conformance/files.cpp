// Files: what every back end does alike with them, whoever carries the calls out: the ring, the
// pool, or a simulated disk.
#include "conformance/harness.hpp"

#include <unistd.h>

namespace conformance {

namespace {

using weir::file_type;
using weir::shard;

/// Makes an empty directory that no other test has at the same time.
task<std::string> fresh_directory() {
  static int count = 0;
  (void)co_await weir::make_directory("/tmp").nothrow();  // a simulated disk is empty
  auto path = "/tmp/weir-files-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
  co_await weir::make_directory(path);
  co_return path;
}

task<> make_file(std::string path, std::string_view text) {
  auto file = co_await weir::open_file(path, {.write = true, .create = true, .truncate = true});
  co_await file.append(text);
}

task<std::string> contents_of(std::string path) {
  auto file = co_await weir::open_file(path);
  std::array<std::byte, 64> buffer;
  auto n = co_await file.read_at(buffer, 0);
  co_return text_of(std::span(buffer).first(n));
}

}  // namespace

task<> file_is_written_read_and_resized(shard&) {
  const auto below = co_await fresh_directory();
  const auto path = below + "/a.txt";
  auto file = co_await weir::open_file(path, {.write = true, .create = true});
  auto n = co_await file.write_at("0123456789", 0);
  CHECK(n == 10);
  n = co_await file.write_at("xyz", 4);
  CHECK(n == 3);
  n = co_await file.append("the end");
  CHECK(n == 7);
  co_await file.sync();
  std::array<std::byte, 64> buffer;
  n = co_await file.read_at(buffer, 2);
  CHECK(text_of(std::span(buffer).first(n)) == "23xyz789the end");
  n = co_await file.read_at(buffer, 17);
  CHECK(n == 0);
  n = co_await file.read_at(buffer, 1000);
  CHECK(n == 0);
  co_await file.resize(3);
  auto about = co_await file.status();
  CHECK(about.size == 3);
  n = co_await file.write_at("z", 9);
  CHECK(n == 1);
  n = co_await file.read_at(buffer, 0);
  CHECK(text_of(std::span(buffer).first(n)) == std::string("012\0\0\0\0\0\0z", 10));
  co_await file.resize(12);
  about = co_await file.status();
  CHECK(about.size == 12);
  co_await weir::remove_file(path);
  n = co_await file.read_at(buffer, 9);  // open still
  CHECK(text_of(std::span(buffer).first(n)) == std::string("z\0\0", 3));
  co_await weir::remove_file(below);
}
FILE_CONFORMANCE(file_is_written_read_and_resized);

task<> file_is_opened_as_asked(shard&) {
  const auto below = co_await fresh_directory();
  const auto path = below + "/a";
  const auto missing = co_await weir::open_file(path).nothrow();
  CHECK(missing.error() == std::errc::no_such_file_or_directory);
  auto made = co_await weir::open_file(path, {.write = true, .create = true, .exclusive = true});
  co_await made.append("contents");
  const auto again =
      co_await weir::open_file(path, {.write = true, .create = true, .exclusive = true}).nothrow();
  CHECK(again.error() == std::errc::file_exists);
  auto only_read = co_await weir::open_file(path);
  const auto refused = co_await only_read.write_at("no", 0).nothrow();
  CHECK(refused.error() == std::errc::bad_file_descriptor);
  const auto uncut = co_await only_read.resize(1).nothrow();
  CHECK(uncut.error() == std::errc::invalid_argument);
  auto only_written = co_await weir::open_file(path, {.read = false, .write = true});
  std::array<std::byte, 8> buffer;
  const auto unread = co_await only_written.read_at(buffer, 0).nothrow();
  CHECK(unread.error() == std::errc::bad_file_descriptor);
  const auto neither = co_await weir::open_file(path, {.read = false}).nothrow();
  CHECK(neither.error() == std::errc::invalid_argument);
  const auto unwritten = co_await weir::open_file(path, {.create = true}).nothrow();
  CHECK(unwritten.error() == std::errc::invalid_argument);
  const auto folder = co_await weir::open_file(below).nothrow();
  CHECK(folder.error() == std::errc::is_a_directory);
  auto cut = co_await weir::open_file(path, {.write = true, .truncate = true});
  auto about = co_await cut.status();
  CHECK(about.size == 0);
  co_await weir::remove_file(path);
  co_await weir::remove_file(below);
}
FILE_CONFORMANCE(file_is_opened_as_asked);

task<> file_path_is_copied_when_the_call_is_made(shard&) {
  const auto below = co_await fresh_directory();
  auto path = below + "/a-name-that-is-too-long-to-lie-in-the-string";
  auto opening = weir::open_file(path, {.write = true, .create = true});
  const auto as_it_was = path;
  path.assign(path.size(), '?');
  auto file = co_await std::move(opening);
  auto about = co_await file.status();
  auto same = co_await weir::status_of(as_it_was);
  CHECK(about.number == same.number);
  co_await weir::remove_file(as_it_was);
  co_await weir::remove_file(below);
}
FILE_CONFORMANCE(file_path_is_copied_when_the_call_is_made);

task<> file_status_is_of_the_path_and_of_the_open_file(shard&) {
  const auto below = co_await fresh_directory();
  co_await make_file(below + "/a", "12345");
  co_await make_file(below + "/b", "1");
  auto file = co_await weir::open_file(below + "/a");
  auto open = co_await file.status();
  auto named = co_await weir::status_of(below + "/a");
  auto other = co_await weir::status_of(below + "/b");
  CHECK(open.type == file_type::regular);
  CHECK(open.size == 5);
  CHECK(named.size == 5);
  CHECK(named.device == open.device);
  CHECK(named.number == open.number);
  CHECK(named.mode == open.mode);
  CHECK(named.modified_ns == open.modified_ns);
  CHECK(other.number != open.number);
  auto folder = co_await weir::status_of(below);
  CHECK(folder.type == file_type::directory);
  co_await weir::remove_file(below + "/a");
  co_await weir::remove_file(below + "/b");
  co_await weir::remove_file(below);
  const auto gone = co_await weir::status_of(below).nothrow();
  CHECK(gone.error() == std::errc::no_such_file_or_directory);
}
FILE_CONFORMANCE(file_status_is_of_the_path_and_of_the_open_file);

task<> file_is_renamed_in_the_place_of_another(shard&) {
  const auto below = co_await fresh_directory();
  co_await weir::make_directory(below + "/sub");
  co_await make_file(below + "/new", "new");
  co_await make_file(below + "/sub/old", "old");
  co_await weir::rename_file(below + "/new", below + "/sub/old");
  auto text = co_await contents_of(below + "/sub/old");
  CHECK(text == "new");
  const auto moved = co_await weir::open_file(below + "/new").nothrow();
  CHECK(moved.error() == std::errc::no_such_file_or_directory);
  const auto nothing = co_await weir::rename_file(below + "/new", below + "/x").nothrow();
  CHECK(nothing.error() == std::errc::no_such_file_or_directory);
  const auto nowhere = co_await weir::rename_file(below + "/sub/old", below + "/no/x").nothrow();
  CHECK(nowhere.error() == std::errc::no_such_file_or_directory);
  co_await weir::remove_file(below + "/sub/old");
  co_await weir::remove_file(below + "/sub");
  co_await weir::remove_file(below);
}
FILE_CONFORMANCE(file_is_renamed_in_the_place_of_another);

task<> file_directories_are_made_listed_and_removed(shard&) {
  const auto below = co_await fresh_directory();
  co_await weir::make_directory(below + "/b");
  const auto again = co_await weir::make_directory(below + "/b").nothrow();
  CHECK(again.error() == std::errc::file_exists);
  const auto nowhere = co_await weir::make_directory(below + "/x/y").nothrow();
  CHECK(nowhere.error() == std::errc::no_such_file_or_directory);
  co_await make_file(below + "/a", "");
  co_await make_file(below + "/b/c", "");
  auto entries = co_await weir::list_directory(below);
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].name == "a");
  CHECK(entries[0].type == file_type::regular);
  CHECK(entries[1].name == "b");
  CHECK(entries[1].type == file_type::directory);
  const auto many = co_await weir::list_directory(below, 1).nothrow();
  CHECK(many.error() == weir::error::limit_exceeded);
  const auto full = co_await weir::remove_file(below + "/b").nothrow();
  CHECK(full.error() == std::errc::directory_not_empty);
  co_await weir::remove_file(below + "/b/c");
  co_await weir::remove_file(below + "/b");
  co_await weir::remove_file(below + "/a");
  entries = co_await weir::list_directory(below);
  CHECK(entries.empty());
  const auto gone = co_await weir::remove_file(below + "/a").nothrow();
  CHECK(gone.error() == std::errc::no_such_file_or_directory);
  co_await weir::remove_file(below);
}
FILE_CONFORMANCE(file_directories_are_made_listed_and_removed);

namespace {

/// A file of the pattern, from `from` on.
task<weir::file> pattern_file(std::string path, std::size_t size, std::uint64_t from) {
  auto file = co_await weir::open_file(path, {.write = true, .create = true});
  const auto bytes = pattern(size, from);
  co_await file.write_at(bytes, 0);
  co_return file;
}

task<> write_first(tcp_stream& to, std::span<const std::byte> bytes) {
  co_await to.write_all(bytes);
}

}  // namespace

// More than sockets hold, so that the write waits when the file is to follow.
struct file_is_sent_after_what_was_written_and_before_what_is_written {
  static constexpr std::size_t before = 3'000'000, size = 2'000'000, after = 100'000;

  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto below = co_await fresh_directory();
    auto file = co_await pattern_file(below + "/f", size + 500, before - 300);
    const auto first = pattern(before), last = pattern(after, before + size);
    weir::scope writing(s.here);
    writing.spawn(write_first(stream, first));
    co_await weir::yield();
    s.signal(1);
    auto sent = co_await weir::send_file(stream, file, 300, size);
    CHECK(sent == size);
    co_await stream.write_all(last);
    co_await writing.join();
    stream.shutdown_send();
    co_await s.wait(2);
    co_await weir::remove_file(below + "/f");
    co_await weir::remove_file(below);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    auto total = co_await read_pattern(stream);
    CHECK(total == before + size + after);
    s.signal(2);
  }
};
CONFORMANCE(file_is_sent_after_what_was_written_and_before_what_is_written);

struct file_that_ends_early_is_sent_to_its_end {
  static constexpr std::size_t size = 700'000, skipped = 100'000;

  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto below = co_await fresh_directory();
    auto file = co_await pattern_file(below + "/f", size, 0);
    std::uint64_t counted = 7;
    auto sent = co_await weir::send_file(stream, file, size, 200'000, {.sent = &counted});
    CHECK(sent == 0);
    CHECK(counted == 7);
    sent = co_await weir::send_file(stream, file, skipped, UINT64_MAX, {.sent = &counted});
    CHECK(sent == size - skipped);
    CHECK(counted == size - skipped + 7);
    sent = co_await weir::send_file(stream, file, size - 10, 100);
    CHECK(sent == 10);
    sent = co_await weir::send_file(stream, file, 0, 0);
    CHECK(sent == 0);
    stream.shutdown_send();
    const auto late = co_await [](tcp_stream& to, weir::file& from) -> task<std::error_code> {
      try {
        (void)co_await weir::send_file(to, from, 0, size);
      } catch (const io_error& e) {
        co_return e.code();
      }
      co_return std::error_code();
    }(stream, file);
    CHECK(late == std::errc::broken_pipe);
    co_await s.wait(1);
    co_await weir::remove_file(below + "/f");
    co_await weir::remove_file(below);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto total = co_await read_pattern(stream, size - skipped, skipped);
    CHECK(total == size - skipped);
    total = co_await read_pattern(stream, UINT64_MAX, size - 10);
    CHECK(total == 10);
    s.signal(1);
  }
};
CONFORMANCE(file_that_ends_early_is_sent_to_its_end);

namespace {

task<std::error_code> try_to_send(tcp_stream& to, weir::file& from, std::uint64_t& sent,
                                  weir::duration each, weir::duration all) {
  try {
    const auto offset = sent;
    (void)co_await weir::with_timeout(
        all, weir::send_file(to, from, offset, UINT64_MAX, {.write_timeout = each, .sent = &sent}));
  } catch (const io_error& e) {
    co_return e.code();
  }
  co_return std::error_code();
}

}  // namespace

// More than sockets hold.
struct file_whose_receiver_does_not_read_is_given_up {
  static constexpr std::size_t size = 40'000'000;

  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto below = co_await fresh_directory();
    auto file = co_await weir::open_file(below + "/f", {.write = true, .create = true});
    co_await file.resize(size);
    std::uint64_t sent = 0;
    auto why = co_await try_to_send(stream, file, sent, 30ms, weir::no_limit);
    CHECK(why == std::errc::timed_out);
    CHECK(sent > 0);
    CHECK(sent < size);
    why = co_await try_to_send(stream, file, sent, weir::no_limit, 30ms);
    CHECK(why == std::errc::timed_out);
    CHECK(sent < size);
    s.signal(1, sent);
    stream.shutdown_send();
    co_await s.wait(2);
    co_await weir::remove_file(below + "/f");
    co_await weir::remove_file(below);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto sent = co_await s.wait(1);
    std::vector<std::byte> buffer(256 * 1024);
    std::uint64_t total = 0;
    for (;;) {
      auto n = co_await stream.read_some(buffer);
      if (n == 0) break;
      total += n;
    }
    CHECK(total == sent);
    s.signal(2);
  }
};
CONFORMANCE(file_whose_receiver_does_not_read_is_given_up);

}  // namespace conformance
