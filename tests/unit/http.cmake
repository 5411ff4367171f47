set(WEIR_TEST_HEADERS std)
weir_add_test(unit_http SOURCES http_request_test.cpp http_files_test.cpp http_response_test.cpp http_router_test.cpp
  PREFIX unit.http. LIBS weir_http_wire weir_http fmt::fmt)
if(WEIR_WITH_SIM)
  weir_add_test(unit_http_server SOURCES http_server_test.cpp PREFIX unit.http_server. LIBS weir_http)
  weir_add_test(unit_http_client SOURCES http_client_test.cpp PREFIX unit.http_client. LIBS weir_http)
endif()
