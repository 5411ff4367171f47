set(WEIR_TEST_HEADERS stack)
# The stack's buffers, tables and estimators, each by itself.
foreach(name IN ITEMS buffer_queues listen_tables tcp_cubic tcp_parts tcp_prediction)
  weir_add_test(${name}_test SOURCES ${name}_test.cpp LIBS weir::stack LABELS stack)
endforeach()
