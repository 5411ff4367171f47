// Which Asio the headers of weir/asio.hpp are made for: the standalone one, or Boost's where
// WEIR_ASIO_BOOST is 1. All that depends on it lies in an inline namespace of its own, so that a
// program may have units of both kinds.
#pragma once

#ifndef WEIR_ASIO_BOOST
#define WEIR_ASIO_BOOST 0
#endif

#if WEIR_ASIO_BOOST
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/version.hpp>
#define WEIR_ASIO_FLAVOUR on_boost_asio
#define WEIR_ASIO_HAS_SLOTS (BOOST_ASIO_VERSION >= 102000)
#else
#include <asio/associated_allocator.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/buffer.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/execution.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/version.hpp>
#define WEIR_ASIO_FLAVOUR on_asio
#define WEIR_ASIO_HAS_SLOTS (ASIO_VERSION >= 101900)
#endif

#if WEIR_ASIO_HAS_SLOTS
#if WEIR_ASIO_BOOST
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#else
#include <asio/associated_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#endif
#endif

#include <system_error>

#include "weir/error.hpp"

namespace weir {
inline namespace WEIR_ASIO_FLAVOUR {

#if WEIR_ASIO_BOOST
namespace asio_of = ::boost::asio;
using asio_error = ::boost::system::error_code;
#else
namespace asio_of = ::asio;
using asio_error = ::std::error_code;
#endif

/// An error of weir's in Asio's words: its handlers compare with asio::error::eof,
/// operation_aborted and the system's. Boost's error codes cannot carry what other categories say
/// (a TLS alert): io_error.
inline asio_error to_asio_error(const std::error_code& error) {
  if (!error) return {};
  if (error == weir::error::end_of_stream) return asio_of::error::eof;
  if (error == std::errc::operation_canceled) return asio_of::error::operation_aborted;
  if (error == weir::error::closed) return asio_of::error::bad_descriptor;
  if (error.category() == std::generic_category() || error.category() == std::system_category())
    return asio_error(error.value(), asio_of::error::get_system_category());
#if WEIR_ASIO_BOOST
  return asio_error(static_cast<int>(std::errc::io_error), asio_of::error::get_system_category());
#else
  return error;
#endif
}

/// And back: the system's errors compare with std::errc, which those of standalone Asio's own
/// system category do not. Others stay what they are (asio::error::eof, OpenSSL's).
inline std::error_code from_asio_error(const asio_error& error) {
  if (error.category() == asio_of::error::get_system_category())
    return {error.value(), std::system_category()};
  return error;
}

}  // namespace WEIR_ASIO_FLAVOUR
}  // namespace weir
