// Baseline: libuv, the event loop under Node.js. Tries to write at once, and queues a copy only
// when the socket is full.
#include <netinet/tcp.h>
#include <uv.h>

#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "baselines.hpp"

namespace weir::bench {
namespace {

char shared_buffer[64 * 1024];  // one thread, and a read callback runs right after its allocation
                                // callback

struct queued_write {
  uv_write_t request{};
  std::vector<char> bytes;
};

void end(uv_handle_t* peer) {
  if (uv_is_closing(peer) == 0)
    uv_close(peer, [](uv_handle_t* h) { delete reinterpret_cast<uv_tcp_t*>(h); });
}

void on_read(uv_stream_t* peer, ssize_t n, const uv_buf_t* buffer) {
  if (n == 0) return;
  if (n < 0) return end(reinterpret_cast<uv_handle_t*>(peer));
  uv_buf_t whole = uv_buf_init(buffer->base, static_cast<unsigned>(n));
  int written = uv_try_write(peer, &whole, 1);
  if (written == n) return;
  if (written < 0) written = 0;
  auto* write = new queued_write;
  write->bytes.assign(buffer->base + written, buffer->base + n);
  write->request.data = write;
  uv_buf_t rest = uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  uv_read_stop(peer);
  uv_write(&write->request, peer, &rest, 1, [](uv_write_t* request, int status) {
    uv_stream_t* stream = request->handle;
    delete static_cast<queued_write*>(request->data);
    if (status < 0)
      end(reinterpret_cast<uv_handle_t*>(stream));
    else if (uv_is_closing(reinterpret_cast<uv_handle_t*>(stream)) == 0)
      uv_read_start(
          stream,
          [](uv_handle_t*, size_t, uv_buf_t* out) {
            *out = uv_buf_init(shared_buffer, sizeof shared_buffer);
          },
          on_read);
  });
}

void on_connection(uv_stream_t* listener, int status) {
  if (status < 0) return;
  auto* peer = new uv_tcp_t;
  uv_tcp_init(listener->loop, peer);
  if (uv_accept(listener, reinterpret_cast<uv_stream_t*>(peer)) != 0)
    return end(reinterpret_cast<uv_handle_t*>(peer));
  uv_tcp_nodelay(peer, 1);
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(peer),
      [](uv_handle_t*, size_t, uv_buf_t* out) {
        *out = uv_buf_init(shared_buffer, sizeof shared_buffer);
      },
      on_read);
}

void check(int rc, const char* what) {
  if (rc < 0) throw std::system_error(-rc, std::system_category(), what);
}

}  // namespace

void serve_libuv(const baseline_settings& settings) {
  uv_loop_t loop;
  check(uv_loop_init(&loop), "uv_loop_init");
  uv_tcp_t listener;
  check(uv_tcp_init(&loop, &listener), "uv_tcp_init");
  const int fd = listen_on(settings.where, 4096);
  check(uv_tcp_open(&listener, fd), "uv_tcp_open");
  check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 4096, on_connection), "uv_listen");
  announce(local_endpoint(fd), "libuv");
  uv_run(&loop, UV_RUN_DEFAULT);
  std::abort();  // the listener keeps the loop alive
}

}  // namespace weir::bench
