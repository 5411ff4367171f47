// What a program adds to its admin endpoint (observe.listen, docs/observe.md): names for its
// sockets, pages of its own, and the endpoint itself where shards run without run().
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/stack/address.hpp"

namespace weir {

class shard;
struct config;

/// What a page of the program's own answers.
struct admin_answer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

/// Of a shard: shard.local<weir::admin_pages>(). On its thread.
class admin_pages {
 public:
  static constexpr std::size_t most_pages = 64;
  static constexpr std::size_t most_names = 1024;
  static constexpr std::size_t most_body = std::size_t{4} << 20;  ///< a larger answer is a 500
  using page = std::function<admin_answer(std::string_view query)>;

  explicit admin_pages(shard&) {}
  admin_pages(const admin_pages&) = delete;
  admin_pages& operator=(const admin_pages&) = delete;

  /// GET /own/NAME is answered by `answer`, on this shard and outside every coroutine: it looks at
  /// what it has and returns. `query` is what stands behind the question mark, as it came. A page
  /// that several shards have is the first one's. What it throws is a 500. Scripts in it do not
  /// run. Throws std::invalid_argument: a name is 1 to 64 of a-z, 0-9, '-', '_' and '.', is given
  /// once, and 64 pages are the most.
  void add(std::string_view name, page answer);
  /// It is not asked any more.
  void remove(std::string_view name);

  /// The listener and the UDP socket at this address are shown with a name, as long as they are
  /// there; an empty one takes the name away. Beyond most_names it is not kept.
  void name_socket(const endpoint& local, std::string_view name);

  // --- For who shows them.

  const std::map<std::string, page, std::less<>>& all() const { return pages_; }
  /// Empty: it has none.
  std::string_view name_of(const endpoint& local) const;
  /// Forgets the names of all sockets but those that `there` knows.
  void keep_names(const std::function<bool(const endpoint&)>& there);

 private:
  std::map<std::string, page, std::less<>> pages_;
  std::map<endpoint, std::string> names_;
};

/// observe.listen for shards that were made without run() (weir/runtime.hpp).
class admin_server {
 public:
  /// Listens on settings.observe.listen and serves from then on, on a thread of its own. The
  /// shards' loops run or will run; they have stopped, or go on running, when the server goes.
  /// Throws config_error: observe.listen is empty or cannot be had.
  admin_server(const config& settings, std::vector<shard*> shards);
  ~admin_server();
  admin_server(const admin_server&) = delete;
  admin_server& operator=(const admin_server&) = delete;

  /// Where it listens, with the port that it has got.
  const endpoint& where() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir
