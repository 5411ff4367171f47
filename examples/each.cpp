// Runs a command for every line of its standard input, several at once, as xargs(1) does: the line
// is its last argument. What each one wrote comes out whole, when it has ended. Interrupted, it
// begins no more and waits for those that run; at the second time they are killed.
//
//   ls *.log | each --jobs 4 -- gzip --stdout
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <weir/weir.hpp>

namespace {

struct plan {
  std::vector<std::string> command;
  std::size_t jobs = 4;
};

struct progress {
  weir::any_stream out;
  weir::semaphore free;
  unsigned failed = 0;
};

void complain(const std::string& about, const std::string& what) {
  std::fprintf(stderr, "each: %s: %s\n", about.c_str(), what.c_str());
}

weir::task<> run_one(std::string line, const plan& wanted, progress& all) {
  weir::command one{.arguments = wanted.command};
  one.arguments.push_back(line);
  one.input = weir::stdio::null();
  one.output = weir::stdio::pipe();
  std::string why;
  try {
    auto child = co_await weir::spawn_process(one);
    std::string text;
    std::array<std::byte, 4096> buffer;
    while (auto n = co_await child.output.read_some(buffer))
      text += weir::as_text(std::span(buffer).first(n));
    const auto status = co_await child.wait();
    if (!status.success()) why = status.to_string();
    co_await all.out.write_all(text);
  } catch (const weir::io_error& error) {
    why = error.what();
  }
  all.free.release();
  if (why.empty()) co_return;
  ++all.failed;
  complain(line, why);
}

/// The next line without its end; false at the end of input, and when asked to stop.
weir::task<bool> next_line(weir::buffered_reader& lines, std::string& line) {
  const auto got = co_await lines.read_until("\n").until_stop().nothrow();
  const bool last = !got && got.error() == weir::error::end_of_stream;
  if (!got && !last && got.error() != std::errc::operation_canceled)
    throw weir::io_error(got.error(), "standard input");
  const auto bytes = got ? got->first(got->size() - 1) : lines.buffered();
  line = weir::as_text(bytes);
  if (last) lines.consume(bytes.size());
  co_return got.has_value() || (last && !line.empty());
}

weir::task<> run_all(weir::shard& shard, const plan& wanted, unsigned& failed) {
  auto in = weir::standard_input(shard);
  progress all{weir::standard_output(shard), weir::semaphore(wanted.jobs)};
  std::vector<std::byte> storage(64 * 1024);
  weir::buffered_reader lines(in, storage);
  weir::scope running(shard);
  std::string line;
  for (;;) {
    co_await all.free.acquire();
    const auto more = co_await next_line(lines, line);
    if (!more) break;
    running.spawn(run_one(line, wanted, all));
  }
  co_await running.join();
  failed = all.failed;
}

}  // namespace

int main(int argc, char** argv) {
  plan wanted;
  const auto own = std::find(argv, argv + argc, std::string_view("--"));
  for (auto word = own; word != argv + argc; ++word)
    if (word != own) wanted.command.emplace_back(*word);
  std::string jobs = "4";
  weir::config_parser options("each", "runs what stands behind -- for every line of its input");
  options.value("--jobs", "N", "how many at once", jobs);
  auto settings = options.parse_or_exit(static_cast<int>(own - argv), argv);
  settings.shards = 1;
  wanted.jobs = static_cast<std::size_t>(std::strtoul(jobs.c_str(), nullptr, 10));
  if (wanted.jobs == 0 || wanted.command.empty())
    return std::fputs("each: [--jobs N] -- COMMAND [ARGUMENT...]\n", stderr), 2;
  unsigned failed = 0;
  const int code =
      weir::run(settings, [&](weir::shard& shard) { return run_all(shard, wanted, failed); });
  return code != 0 ? code : failed != 0;
}
