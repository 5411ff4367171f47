// An HTTP server, whole: it stands in the README as it stands here.
#include <weir/http.hpp>
#include <weir/weir.hpp>
namespace http = weir::http;

weir::task<http::response> hello(http::request& asked) {
  co_return http::json("{\"hello\":" + http::json_string(asked.path("name")) + "}");
}
weir::task<http::response> upload(http::request& asked) {
  std::size_t bytes = 0;
  for (;;) {
    auto piece = co_await asked.body().read();  // at the speed of whoever is slower
    if (piece.empty()) break;
    bytes += piece.size();
  }
  co_return http::text(std::to_string(bytes) + " bytes\n");
}
weir::task<> serve(weir::shard& shard) {
  http::router site;
  site.get("/hello/{name}", hello).post("/upload", upload);
  auto listener = shard.listen({"127.0.0.1", 8080});
  http::server server(shard, site);
  co_await server.run(listener);  // until the stop; what was asked is still answered
}
int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }
