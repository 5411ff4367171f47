// Randomness from a seed, for simulations whose traces are compared: an OpenSSL library context
// whose only random generator is a provider of our own. Whoever knows the seed reads everything.
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <cstdint>
#include <new>

#include "runtime/tls/state.hpp"

namespace weir::detail {

namespace {

constexpr const char* algorithm = "WEIR-SEEDED";

/// One sequence for all generators of a library context (SplitMix64).
struct sequence {
  std::uint64_t state;
  std::uint64_t next() {
    auto z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
};

/// A provider's initialization is given no argument of ours.
thread_local std::uint64_t seed_of_provider = 0;

void* new_generator(void* of, void*, const OSSL_DISPATCH*) noexcept { return of; }
void free_generator(void*) noexcept {}
int yes(void*) noexcept { return 1; }
void nothing(void*) noexcept {}
int instantiate(void*, unsigned, int, const unsigned char*, std::size_t,
                const OSSL_PARAM*) noexcept {
  return 1;
}
int generate(void* of, unsigned char* out, std::size_t size, unsigned, int, const unsigned char*,
             std::size_t) noexcept {
  for (std::size_t i = 0; i < size; ++i)
    out[i] = static_cast<unsigned char>(static_cast<sequence*>(of)->next() >> 56);
  return 1;
}
int get_parameters(void*, OSSL_PARAM params[]) noexcept {
  if (auto* p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE); p != nullptr)
    OSSL_PARAM_set_int(p, EVP_RAND_STATE_READY);
  if (auto* p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH); p != nullptr)
    OSSL_PARAM_set_uint(p, 256);
  if (auto* p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST); p != nullptr)
    OSSL_PARAM_set_size_t(p, 1 << 16);
  return 1;
}

template <class F>
OSSL_DISPATCH entry(int id, F* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) noexcept {
  static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_RAND_NEWCTX, &new_generator),
                                            entry(OSSL_FUNC_RAND_FREECTX, &free_generator),
                                            entry(OSSL_FUNC_RAND_INSTANTIATE, &instantiate),
                                            entry(OSSL_FUNC_RAND_UNINSTANTIATE, &yes),
                                            entry(OSSL_FUNC_RAND_GENERATE, &generate),
                                            entry(OSSL_FUNC_RAND_ENABLE_LOCKING, &yes),
                                            entry(OSSL_FUNC_RAND_LOCK, &yes),
                                            entry(OSSL_FUNC_RAND_UNLOCK, &nothing),
                                            entry(OSSL_FUNC_RAND_GET_CTX_PARAMS, &get_parameters),
                                            {0, nullptr}};
  static const OSSL_ALGORITHM generators[] = {
      {algorithm, "provider=weir-seeded", functions, nullptr},
      {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  return operation == OSSL_OP_RAND ? generators : nullptr;
}

void teardown(void* of) noexcept { delete static_cast<sequence*>(of); }

int initialize(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out,
               void** context) noexcept {
  static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, &query),
                                            entry(OSSL_FUNC_PROVIDER_TEARDOWN, &teardown),
                                            {0, nullptr}};
  auto* made = new (std::nothrow) sequence{seed_of_provider};
  if (made == nullptr) return 0;
  *context = made;
  *out = functions;
  return 1;
}

}  // namespace

void library_free::operator()(OSSL_LIB_CTX* library) const noexcept {
  for (auto* provider : {seeded, standard})
    if (provider != nullptr) OSSL_PROVIDER_unload(provider);
  OSSL_LIB_CTX_free(library);
}

library_ptr seeded_library(std::uint64_t seed) {
  library_ptr made(OSSL_LIB_CTX_new());
  if (made == nullptr) throw std::bad_alloc();
  seed_of_provider = seed;
  const auto load = [&made](OSSL_PROVIDER*& into, const char* name) {
    into = OSSL_PROVIDER_load(made.get(), name);
    return into != nullptr;
  };
  const bool good = OSSL_PROVIDER_add_builtin(made.get(), "weir-seeded", &initialize) == 1 &&
                    load(made.get_deleter().seeded, "weir-seeded") &&
                    load(made.get_deleter().standard, "default") &&
                    RAND_set_DRBG_type(made.get(), algorithm, nullptr, nullptr, nullptr) == 1;
  if (!good) throw config_error("tls: this OpenSSL takes no randomness from a seed");
  return made;
}

}  // namespace weir::detail
