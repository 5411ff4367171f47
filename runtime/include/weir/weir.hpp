// Everything that a server needs, in one include.
#pragma once

#include "weir/config.hpp"
#include "weir/error.hpp"
#include "weir/net.hpp"
#include "weir/offload.hpp"
#include "weir/options.hpp"
#include "weir/reader.hpp"
#include "weir/runtime.hpp"
#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/submit.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"
#include "weir/timing.hpp"
#include "weir/udp.hpp"
#include "weir/when.hpp"
