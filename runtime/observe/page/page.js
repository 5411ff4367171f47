'use strict';
// The live page: asks /sockets and /tasks, keeps the last minutes, draws. What peers and the program say is only ever
// put in as text, never as markup.
const kept = 300, rowsShown = 20, looked = 200, lookedAtMost = 4096, tasksEvery = 5000;  // samples, rows, connections, ms
const byId = id => document.getElementById(id);
const known = value => value !== undefined;
const sum = (all, of) => all.reduce((total, one) => total + (of(one) || 0), 0);
const most = (all, of) => all.reduce((top, one) => Math.max(top, of(one) || 0), 0);
const count = (n, one, many) => number(n) + ' ' + (n === 1 ? one : many);

function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
function put(element, text) { if (element.textContent !== text) element.textContent = text; }
function number(n) {
  if (!known(n)) return '?';
  if (n >= 1e9) return (n / 1e9).toFixed(2) + ' G';
  if (n >= 1e6) return (n / 1e6).toFixed(2) + ' M';
  if (n >= 1e4) return (n / 1e3).toFixed(1) + ' k';
  return Number.isInteger(n) || n >= 100 ? String(Math.round(n)) : n.toFixed(n >= 10 ? 1 : 2);
}
function bytes(n) {
  if (!known(n)) return '?';
  if (n < 1024) return Math.round(n) + ' B';
  for (const unit of ['KiB', 'MiB', 'GiB']) if ((n /= 1024) < 1024) return n.toFixed(n < 100 ? 1 : 0) + ' ' + unit;
  return (n / 1024).toFixed(1) + ' TiB';
}
function time(us) {
  if (!known(us)) return '?';
  if (us < 1000) return us.toFixed(us < 10 && us > 0 ? 1 : 0) + ' us';
  if (us < 1e6) return (us / 1000).toFixed(us < 1e5 ? 1 : 0) + ' ms';
  if (us < 120e6) return (us / 1e6).toFixed(us < 1e7 ? 1 : 0) + ' s';
  return us < 7200e6 ? (us / 60e6).toFixed(0) + ' min' : us < 172800e6 ? (us / 3600e6).toFixed(0) + ' h' : (us / 86400e6).toFixed(0) + ' days';
}
const percent = part => (part * 100).toFixed(part < 0.0995 ? 1 : 0) + '%';
const perSecond = n => number(n) + '/s';

// --- What was dropped and turned away, in words. How grave: 0 strangers' noise, 1 worth a look, 2 a bound was reached.
const reasons = {
  drop_ip_malformed: ['IP packets that were malformed', 1], drop_ip_checksum: ['IP packets with a wrong checksum', 1],
  drop_ip_version: ['packets that are no IP', 0], drop_ip_bad_source: ['packets from an impossible address', 1],
  drop_ip_not_ours: ['packets for other addresses', 0], drop_ip_protocol: ['packets of a protocol that nobody here speaks', 0],
  drop_ip_options: ['packets with IP options', 0], drop_fragment_overlap: ['fragments that overlap', 1],
  drop_fragment_limit: ['fragments beyond their memory', 2], drop_fragment_timeout: ['packets of which fragments were missing', 1],
  drop_fragment_malformed: ['fragments that were malformed', 1], drop_icmp_malformed: ['ICMP that was malformed', 0],
  drop_icmp_unknown: ['ICMP of unknown types', 0], drop_tcp_malformed: ['segments that were malformed', 1],
  drop_tcp_checksum: ['segments with a wrong checksum', 1], drop_tcp_no_listener: ['segments to ports where nobody listens', 0],
  drop_tcp_out_of_window: ['segments outside the window', 1], drop_tcp_no_ack: ['segments without an ACK', 0],
  drop_tcp_bad_ack: ['segments with an impossible ACK', 1], drop_tcp_paws: ['segments with an old timestamp', 0],
  drop_tcp_old_duplicate: ['segments that had come before', 0], drop_tcp_memory: ['segments for which no memory was left', 2],
  drop_tcp_after_close: ['data for connections that the program had closed', 0], drop_tcp_reset_ignored: ['resets that were not believed', 0],
  drop_udp_malformed: ['datagrams that were malformed', 0], drop_udp_checksum: ['datagrams with a wrong checksum', 1],
  drop_udp_no_socket: ['datagrams to ports without a socket', 0], drop_udp_queue_full: ['datagrams that found their queue full', 2],
  drop_udp_memory: ['datagrams for which no memory was left', 2], drop_udp_flows_full: ['datagrams beyond the UDP flows there may be', 2],
  accept_queue_overflow: ['connections that found the accept queue full', 2], syn_queue_overflow: ['SYNs that found the SYN queue full', 2],
  syn_asked_overflow: ['SYNs beyond the requests that may wait', 2], time_wait_overflow: ['TIME_WAIT entries beyond their bound', 1],
  connections_refused_limit: ['connections beyond stack.connections', 2], orphans_over_limit: ['closed connections beyond their bound, reset', 2],
  shortage_orphans_reset: ['closed connections reset for want of memory', 2], shortage_stalled_reset: ['stalled connections reset for want of memory', 2],
  handovers_dropped: ['segments between shards that found no room', 2], flow_directory_full: ['flows beyond the directory of shards', 2],
  device_full: ['packets that found the device full', 2], icmp_errors_limited: ['ICMP errors not sent, to keep their rate', 0],
  challenge_acks_limited: ['challenge ACKs not sent, to keep their rate', 0],
  device_send_failed: ['frames that the device refused', 2],
  device_handover_full: ['frames for the program before that found their way full', 2], transport_accept_refused: ['connections reset, unclaimed ones being too many', 2],
  transport_accept_exhausted: ['accepts that waited for a descriptor or for memory', 2], transport_no_buffers: ['times the ring had no buffer', 1],
  shard_offload_refused: ['offloaded functions that found the queue full', 2], http_refused_connections: ['connections beyond http.max_connections', 2],
  http_refused_requests: ['requests that were malformed, too large or too slow', 1], http_refused_bodies: ['bodies that were malformed or too large', 1],
  http_slow_bodies: ['bodies that took too long', 1], http_slow_readers: ['clients that did not read in time', 1],
  http_refused_streams: ['HTTP/2 requests beyond those at once', 1], http_floods: ['HTTP/2 connections ended for frames without end', 2],
  http_failed_upgrades: ['connections taken over that ended with an error', 1], http_failed_handshakes: ['TLS handshakes that failed', 1],
  http_failures: ['requests whose handler threw (500)', 2], tls_server_failed: ['TLS handshakes that failed', 1],
  tls_server_displaced: ['TLS handshakes that made way for newer ones', 2], shard_metrics_refused: ['metrics of the program beyond 1000', 1],
  kernel_listen_overflows: ['connections that found an accept queue full, on any listener of this network', 2],
  kernel_listen_drops: ['SYNs and connections dropped by any listener of this network', 1],
  kernel_syn_queue_drops: ['SYNs that found a SYN queue full, on any listener of this network', 2],
  udp_dropped: ['datagrams that found the kernel\'s queue full', 2]};
const overflowing = ['accept_queue_overflow', 'syn_queue_overflow', 'syn_asked_overflow', 'drop_udp_queue_full', 'udp_dropped',
  'kernel_listen_overflows', 'kernel_syn_queue_drops', 'transport_accept_refused', 'device_full', 'device_send_failed', 'device_handover_full', 'shard_offload_refused',
  'http_refused_connections', 'connections_refused_limit', 'tls_server_displaced'];

function refusals(state) {
  const out = new Map(), add = (name, n) => { if (n > 0 && reasons[name]) out.set(name, (out.get(name) || 0) + n); };
  for (const shard of state.shards) {
    for (const [name, n] of Object.entries(shard.stack || {})) add(name, n);
    for (const [name, n] of Object.entries(shard.counts)) add(name, n);
  }
  if (state.shards.some(s => !s.stack && s.backend !== 'sim')) {
    for (const [name, n] of Object.entries(state.kernel || {})) add('kernel_' + name, n);
    for (const s of state.udp_sockets) add('udp_dropped', s.dropped);
  }
  return out;
}

// --- Samples: what happened between two looks.
const total = (state, name) => sum(state.shards, s => s.counts[name]);
const moved = (state, which) => sum(state.shards, s => {
  let n = s.stack ? s.stack['bytes_' + which] : 0;
  for (const [name, value] of Object.entries(s.counts)) if (name.endsWith('_bytes_' + which) && name !== 'device_bytes_' + which) n += value;
  return n;
});
// The upper end of the longest that was added between two looks, and of 99 of 100.
function spread(now, before) {
  const added = now.map((n, i) => Math.max(0, n - ((before || [])[i] || 0))), all = sum(added, n => n);
  let longest = 0, p99 = 0, seen = 0;
  added.forEach((n, i) => { seen += n; if (n > 0) longest = 2 ** i / 1000; if (!p99 && all && seen >= 0.99 * all) p99 = 2 ** i / 1000; });
  return [longest, p99];
}
function memory(state) {
  const out = [], add = (what, have, limit, show) => { if (known(have) && limit > 0) out.push({what, part: have / limit, words: show(have) + ' of ' + show(limit)}); };
  add('stack queues', total(state, 'stack_memory'), total(state, 'stack_memory_limit'), bytes);
  add('process', state.process.resident, state.process.memory_limit, bytes);
  add('descriptors', state.process.descriptors, state.process.descriptors_limit, number);
  return out.sort((a, b) => b.part - a.part);
}
const groupKey = l => l.local + (l.network ? ' ' + l.network : '');
function sampleOf(state, before) {
  const seconds = Math.max((state.taken_us - before.taken_us) / 1e6, 1e-3), rate = (a, b) => Math.max(0, a - b) / seconds;
  const byShard = new Map(before.shards.map(s => [s.shard, s])), now = refusals(state), then = refusals(before);
  const added = new Map();
  for (const [name, n] of now) added.set(name, Math.max(0, n - (then.get(name) || 0)));
  const turns = state.shards.map(s => spread(s.turn_ns_powers, (byShard.get(s.shard) || {}).turn_ns_powers));
  const per = key => state.shards.map(s => rate(s.counts[key] || 0, ((byShard.get(s.shard) || {counts: {}}).counts[key]) || 0));
  const listeners = {};
  for (const l of state.listeners) {
    const one = listeners[groupKey(l)] = listeners[groupKey(l)] || [0, 0];
    one[0] += l.accept_queue || 0; one[1] += l.syn_queue || 0;
  }
  const stalls = s => sum(s.stalls || [], one => one.count);
  return {at: Date.now(), seconds, added, longest: most(turns, t => t[0]), p99: most(turns, t => t[1]), worst: turns.map(t => t[0]), listeners,
    stalls: Math.max(0, stalls(state) - stalls(before)), overflows: sum(overflowing, n => added.get(n)) / seconds,
    drops: sum([...added], ([name, n]) => overflowing.includes(name) ? 0 : n) / seconds,
    grave: sum([...added], ([name, n]) => !overflowing.includes(name) && reasons[name][1] === 2 ? n : 0),
    memory: most(memory(state), m => m.part), requests: rate(total(state, 'http_requests'), total(before, 'http_requests')),
    received: rate(moved(state, 'received'), moved(before, 'received')), sent: rate(moved(state, 'sent'), moved(before, 'sent')),
    accepts: rate(sum(state.listeners, l => l.accepted), sum(before.listeners, l => l.accepted)),
    connections: sum(state.shards, s => s.connections), cpu: per('shard_cpu_us').map(us => us / 1e6), turns: per('shard_turns'), resumed: per('shard_resumed')};
}
let samples = [], previous = null, latest = null;
const past = seconds => samples.filter(s => s.at > Date.now() - seconds * 1000);

// --- Charts.
const charts = [];
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colours = n => Array.from({length: n}, (_, i) => colour('--a' + i % 8));
const powers = (from, to) => Array.from({length: to - from + 1}, (_, i) => 10 ** (from + i));
function makeChart(box, title, names, valuesOf, how) {
  if (typeof Dygraph === 'undefined') return;
  const shown = how.show || number, note = how.note;
  const look = () => ({colors: colours(names.length), gridLineColor: colour('--track'), axisLineColor: colour('--line')});
  box.setAttribute('role', 'img');
  const graph = new Dygraph(box, [[new Date(), ...names.map(() => 0)]], {labels: ['time', ...names], legend: 'never', interactionModel: {},
    strokeWidth: 1.6, fillGraph: names.length === 1, fillAlpha: 0.12, highlightCircleSize: 3, xRangePad: 4, logscale: !!how.log, axisLabelFontSize: 11,
    axes: {x: {drawGrid: false, axisLabelWidth: 58, pixelsPerLabel: 84}, y: {axisLabelWidth: how.wide || 46, labelsKMG2: shown === bytes, pixelsPerLabel: 26, axisLabelFormatter: shown,
      ...(how.log ? {ticker: (a, b) => powers(0, 8).filter(v => v >= a && v <= b).map(v => ({v, label: shown(v)}))} : {})}},
    highlightCallback: (_, x, points) => { if (note) { note.dataset.held = '1'; put(note, new Date(x).toLocaleTimeString() + ': ' + points.map(p => (names.length > 1 ? p.name + ' ' : '') + shown(p.yval)).join(', ')); } },
    unhighlightCallback: () => { if (note) delete note.dataset.held; }, ...look()});
  const draw = () => {
    const rows = samples.map(s => [new Date(s.at), ...valuesOf(s)]).filter(r => r.length === names.length + 1);
    const top = rows.reduce((m, r) => Math.max(m, ...r.slice(1)), 0), now = Date.now(), last = rows.length ? rows[rows.length - 1].slice(1) : [];
    const span = Math.min(Math.max(60e3, rows.length ? now - rows[0][0] : 0), kept * 1000);
    box.setAttribute('aria-label', title + ', last ' + time(span * 1000) + ': now ' + last.map(shown).join(', ') + ', at most ' + shown(top));
    graph.updateOptions({file: rows.length ? rows : [[new Date(), ...names.map(() => 0)]], dateWindow: [now - span, now],
      valueRange: how.log ? [how.log, Math.max(how.floor, top * 1.5)] : [0, Math.max(how.floor, top * 1.15)]});
  };
  charts.push({draw, recolour: () => graph.updateOptions(look()), resize: () => graph.resize(), gone: () => !box.isConnected, destroy: () => graph.destroy()});
  draw();
}
function drawCharts() {
  for (let i = charts.length; i-- > 0;) if (charts[i].gone()) charts.splice(i, 1)[0].destroy(); else charts[i].draw();
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.forEach(c => c.recolour()));
addEventListener('resize', () => charts.forEach(c => c.resize()));

function makeTile(parent, id, title, names, valuesOf, how) {
  const note = make('div', {class: 'note'}), figure = make('div', {class: 'figure'}), box = make('div', {class: 'chart'});
  const tile = make('div', {class: 'tile', 'data-tile': id}, make('h3', {}, make('span', {}, title), make('span', {class: 'state'})), figure, note, box);
  byId(parent).append(tile);
  makeChart(box, title, names, valuesOf, {...how, note});
  return {tile, figure, note, set(state, text, more) {
    tile.className = 'tile ' + (state || 'short');
    put(tile.querySelector('.state'), {good: '\u2713 well', watch: '\u25b2 look', bad: '\u2715 bad', '': ''}[state]);
    put(figure, text);
    if (!note.dataset.held) put(note, more);
  }, keys(list) {  // figures with the colour of their line
    tile.className = 'tile short';
    if (figure.children.length !== list.length) figure.replaceChildren(...list.map(() => make('span', {}, make('span', {class: 'key'}), make('span'))));
    list.forEach(([name, text], i) => {
      put(figure.children[i].firstChild, '\u25ac ' + name + ' ');
      figure.children[i].firstChild.style.color = 'var(--a' + i % 8 + ')';
      put(figure.children[i].lastChild, text);
    });
  }};
}
const tiles = {};
function makeTiles(state) {
  const health = (id, ...rest) => tiles[id] = makeTile('health', id, ...rest), traffic = (id, ...rest) => tiles[id] = makeTile('traffic', id, ...rest);
  health('lag', 'Longest turn', ['longest', '99 of 100'], s => [Math.max(s.longest, 1), Math.max(s.p99, 1)], {show: time, log: 1, floor: 3e4, wide: 52});
  health('stalls', 'Stalls', ['stalls'], s => [s.stalls], {floor: 2});
  health('overflows', 'Overflows', ['overflows'], s => [s.overflows], {show: number, floor: 2});
  health('drops', 'Drops', ['drops'], s => [s.drops], {show: number, floor: 2});
  health('memory', 'Memory and bounds', ['fullest'], s => [s.memory], {show: percent, floor: 0.5});
  if (state.shards.some(s => known(s.counts.http_requests)))
    traffic('requests', 'Requests', ['requests'], s => [s.requests], {floor: 5});
  traffic('bytes', 'Bytes a second', ['in', 'out'], s => [s.received, s.sent], {show: bytes, floor: 1024, wide: 56});
  traffic('accepts', 'Accepted', ['accepted'], s => [s.accepts], {floor: 5});
  traffic('connections', 'Connections', ['connections'], s => [s.connections], {floor: 5});
  const few = state.shards.length <= 8, names = few ? state.shards.map(s => 'shard ' + s.shard) : ['busiest', 'middle', 'idlest'];
  const lines = values => { if (few) return values; const v = [...values].sort((a, b) => b - a); return [v[0], v[v.length >> 1], v[v.length - 1]]; };
  tiles.cpu = makeTile('shard-charts', 'cpu', 'CPU by shard', names, s => lines(s.cpu), {show: percent, floor: 0.1});
  tiles.turns = makeTile('shard-charts', 'turns', 'Turns by shard', names, s => lines(s.turns), {floor: 10});
  tiles.lines = lines; tiles.names = names;
}

// --- Is it well?
function judge(state) {
  const recent = past(10), minute = past(60), all = samples, limit = state.stall_limit_us || 20000, trouble = [], span = 'in ' + time(Math.max(1000, all.length ? Date.now() - all[0].at : 0) * 1000);
  const longest = most(recent, s => s.longest), lag = longest >= limit ? 'bad' : longest >= limit / 4 ? 'watch' : 'good';
  tiles.lag.set(lag, longest ? '\u2264 ' + time(longest) : 'none', 'in 10 s; 99 of 100 turns \u2264 ' + time(most(recent, s => s.p99)) + '; longest ' + span + ' \u2264 ' + time(most(all, s => s.longest)));
  if (lag !== 'good') trouble.push([lag, 'turns take up to ' + time(longest)]);
  if (state.silent_shards.length) trouble.push(['bad', 'shard ' + state.silent_shards.join(', ') + ' does not answer']);
  const stalls = sum(all, s => s.stalls), fresh = sum(minute, s => s.stalls), by = (state.stalls || []).slice().sort((a, b) => b.longest_us - a.longest_us)[0];
  const stalled = !state.stalls ? '' : fresh ? 'bad' : stalls ? 'watch' : 'good';
  tiles.stalls.set(stalled, state.stalls ? number(stalls) + ' ' + span : 'not watched',
    !state.stalls ? 'tasks.stall_ms is off' : by ? number(sum(state.stalls, s => s.count)) + ' since the start; longest ' + time(by.longest_us) + (by.function ? ' in ' + by.function + ', ' + by.place : '') : 'none since the start, of ' + time(limit) + ' or more');
  if (stalled === 'bad' || stalled === 'watch') trouble.push([stalled, count(stalls, 'stall', 'stalls') + (by && by.place ? ' (' + by.place + ')' : '')]);
  const totals = refusals(state), rate = (key, of) => recent.length ? sum(recent, s => s[key] * s.seconds) / sum(recent, s => s.seconds) : 0;
  const told = (names, of) => [...totals].filter(([n]) => names(n)).sort((a, b) => of.get(b[0]) - of.get(a[0]) || b[1] - a[1]).slice(0, 2).map(([n, c]) => number(c) + ' ' + reasons[n][0]).join('; ');
  const addedIn = (of, name) => sum(of, s => s.added.get(name)), weight = new Map([...totals].map(([n]) => [n, addedIn(recent, n)]));
  const isOverflow = n => overflowing.includes(n), over = sum(overflowing, n => addedIn(recent, n)), overPast = sum(all, s => s.overflows * s.seconds);
  const full = over ? 'bad' : overPast >= 1 ? 'watch' : 'good';
  tiles.overflows.set(full, perSecond(rate('overflows')), told(isOverflow, weight) || 'none since the start');
  if (over) trouble.push(['bad', [...totals].filter(([n]) => isOverflow(n) && weight.get(n)).map(([n]) => perSecond(weight.get(n) / sum(recent, s => s.seconds)) + ' ' + reasons[n][0]).slice(0, 2).join(', ')]);
  else if (overPast >= 1) trouble.push(['watch', 'a queue overflowed ' + span]);
  const grave = sum(recent, s => s.grave), watched = sum([...weight], ([n, c]) => !isOverflow(n) && reasons[n][1] === 1 ? c : 0);
  const dropped = grave ? 'bad' : watched ? 'watch' : 'good';
  tiles.drops.set(dropped, perSecond(rate('drops')), told(n => !isOverflow(n), weight) || 'none since the start');
  if (dropped !== 'good') trouble.push([dropped, told(n => !isOverflow(n) && reasons[n][1] > 0 && weight.get(n), weight)]);
  const bounds = memory(state), fullest = bounds[0], pressed = !fullest ? '' : fullest.part >= 0.9 ? 'bad' : fullest.part >= 0.7 ? 'watch' : 'good';
  tiles.memory.set(pressed, fullest ? percent(fullest.part) : '?', bounds.map(m => m.what + ' ' + m.words).join('; '));
  if (pressed === 'bad' || pressed === 'watch') trouble.push([pressed, fullest.what + ' at ' + fullest.words]);
  trouble.sort((a, b) => (a[0] === 'bad' ? 0 : 1) - (b[0] === 'bad' ? 0 : 1));
  const worst = trouble.length ? trouble[0][0] : 'good';
  byId('verdict').className = 'verdict ' + worst;
  put(byId('verdict'), (worst === 'bad' ? '\u2715 Not well: ' : worst === 'watch' ? '\u25b2 Look at this: ' : '\u2713 Well: ') +
    (trouble.length ? trouble.map(t => t[1]).join('; ') : 'turns are short, nothing stalls or overflows, memory is within its bounds') + (state.shards.some(s => s.stopping) ? '. It is stopping.' : '.'));
  document.title = (worst === 'good' ? '' : worst === 'bad' ? '\u2715 ' : '\u25b2 ') + state.program + ' \u00b7 weir';
}
