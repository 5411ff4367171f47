// shard_family's own calls, which need its inside.
#include "runtime/backend/family.hpp"

namespace weir {

shard_family::shard_family() : inside_(std::make_unique<detail::family>()) {}
shard_family::~shard_family() = default;

}  // namespace weir
