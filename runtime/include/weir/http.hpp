// HTTP/1.1 and WebSocket on streams, in one include.
#pragma once

#include "weir/http/body.hpp"
#include "weir/http/client.hpp"
#include "weir/http/events.hpp"
#include "weir/http/files.hpp"
#include "weir/http/message.hpp"
#include "weir/http/request.hpp"
#include "weir/http/response.hpp"
#include "weir/http/router.hpp"
#include "weir/http/server.hpp"
#include "weir/http/url.hpp"
#include "weir/http/websocket.hpp"
