set(WEIR_TEST_HEADERS weir)
# A shard among others: threads, descriptors, Unix sockets, files.
if(WEIR_WITH_URING OR WEIR_WITH_ASIO)
  weir_add_test(unit_outside PREFIX "unit.@." LIBS weir_internal SOURCES
    between_shards_test.cpp descriptor_test.cpp embedded_shard_test.cpp file_test.cpp moving_test.cpp offload_test.cpp
    outside_docs_test.cpp
    process_test.cpp service_test.cpp standard_streams_test.cpp stopping_test.cpp unix_datagram_test.cpp
    unix_test.cpp)
  if(TARGET unit_outside)
    target_compile_definitions(unit_outside PRIVATE "WEIR_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
  endif()
  weir_add_allocation_test(unit_outside_allocation PREFIX unit.outside_allocation. LIBS weir_internal
    SOURCES outside_allocation_test.cpp)
endif()
