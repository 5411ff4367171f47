set(WEIR_TEST_HEADERS weir)
# The Asio driver and transport, from close by. They include Asio, hence the library.
if(WEIR_WITH_ASIO)
  weir_add_test(unit_asio PREFIX "unit.@." LIBS weir::asio weir_asio
    SOURCES asio_driver_test.cpp asio_loop_test.cpp asio_stream_test.cpp asio_transport_test.cpp asio_tun_test.cpp)
  weir_add_allocation_test(unit_asio_allocation SOURCES asio_allocation_test.cpp PREFIX unit.asio_allocation.
    LIBS weir::weir weir_asio)
  weir_add_allocation_test(unit_asio_stream_allocation SOURCES asio_stream_allocation_test.cpp
    PREFIX unit.asio_stream_allocation. LIBS weir::asio weir_asio)
  weir_add_test(unit_asio_kernel SOURCES asio_kernel_socket_test.cpp PREFIX unit.kernel_socket. LIBS weir::weir)
endif()
