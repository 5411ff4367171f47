set(WEIR_TEST_HEADERS weir)
# The io_uring driver and transport, from close by.
if(WEIR_WITH_URING)
  weir_add_test(unit_uring PREFIX "unit.@." LIBS weir_internal
    SOURCES offer_depth_test.cpp uring_driver_test.cpp uring_transport_test.cpp)
  weir_add_allocation_test(unit_uring_allocation SOURCES uring_allocation_test.cpp PREFIX unit.uring_allocation.
    LIBS weir_internal)
  weir_add_test(unit_uring_tun SOURCES uring_tun_test.cpp PREFIX unit.uring_tun. LIBS weir_internal LABELS kernel)
endif()
