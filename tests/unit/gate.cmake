# The layers of weir-gate that speak to a proxy, on streams that follow a script.
set(WEIR_TEST_HEADERS weir)
weir_add_test(unit_gate PREFIX unit.gate. LIBS weir::core SOURCES gate_proxies_test.cpp gate_upstream_test.cpp
  ${PROJECT_SOURCE_DIR}/runtime/tools/gate/http_connect.cpp ${PROJECT_SOURCE_DIR}/runtime/tools/gate/socks5.cpp
  ${PROJECT_SOURCE_DIR}/runtime/tools/gate/upstream.cpp)
weir_add_test(unit_gate_slirp PREFIX unit.gate_slirp. LIBS weir::core 
  SOURCES gate_slirp_test.cpp gate_slirp_api_test.cpp
  ${PROJECT_SOURCE_DIR}/runtime/tools/gate/slirp_words.cpp ${PROJECT_SOURCE_DIR}/runtime/tools/gate/slirp_api.cpp)
if(TARGET unit_gate_slirp)
  target_link_libraries(unit_gate_slirp PRIVATE nlohmann_json::nlohmann_json)
endif()
weir_add_test(unit_gate_rules PREFIX unit.gate_rules. LIBS weir::core SOURCES gate_rules_test.cpp
  ${PROJECT_SOURCE_DIR}/runtime/tools/gate/rules.cpp)
if(TARGET unit_gate_rules)
  target_compile_definitions(unit_gate_rules PRIVATE WEIR_GATE_NAMES=1)
endif()
