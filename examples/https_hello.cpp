// hello.cpp's JSON handler behind TLS:
//
//   https_hello --tls.certificate server.pem --tls.key server.key
//   curl --cacert authority.pem https://localhost:8443/hello/world
#include <weir/http.hpp>
#include <weir/tls.hpp>
#include <weir/weir.hpp>
namespace http = weir::http;

weir::task<http::response> hello(http::request& asked) {
  co_return http::json("{\"hello\":" + http::json_string(asked.path("name")) + "}");
}
weir::task<> serve(weir::shard& shard) {
  http::router site;
  site.get("/hello/{name}", hello);
  weir::tls::server_context ours(shard.settings().tls);
  auto listener = shard.listen({"127.0.0.1", 8443});
  http::server server(shard, site);
  co_await server.run(listener, ours);
}
int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }
