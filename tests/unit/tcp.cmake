set(WEIR_TEST_HEADERS stack)
# The stack's buffers, tables and estimators, each by itself.
weir_add_test(unit_tcp PREFIX "@_test." LIBS weir::stack LABELS stack SOURCES
  buffer_queues_test.cpp listen_tables_test.cpp tcp_cubic_test.cpp tcp_parts_test.cpp tcp_prediction_test.cpp)
