// --- Tables and cards.

// Keeps the element of what is still there, so that bars move and whoever reads is not thrown out.
function keep(parent, items, nameOf, makeOne, setOne) {
  const there = new Map(Array.from(parent.children, e => [e.dataset.name, e])), seen = new Map();
  let at = parent.firstChild;
  for (const item of items) {
    const base = nameOf(item), again = seen.get(base) || 0, name = again ? base + ' #' + again : base;
    seen.set(base, again + 1);
    let element = there.get(name);
    there.delete(name);
    if (!element) (element = makeOne(item)).dataset.name = name;
    setOne(element, item);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
  for (const gone of there.values()) gone.remove();
}

// A bar that says how full it is, to eyes and to those who listen.
function makeBar(kind) { return make('div', {class: 'bar ' + kind, role: 'meter', 'data-queue': kind}, make('i')); }
function setBar(bar, label, depth, limit, say) {
  const part = limit > 0 ? Math.min(depth / limit, 1) : 0;
  bar.firstChild.style.width = (part * 100).toFixed(1) + '%';
  bar.classList.toggle('busy', part >= 0.5 && part < 0.9);
  bar.classList.toggle('full', part >= 0.9);
  bar.dataset.depth = depth;
  bar.dataset.limit = limit;
  bar.setAttribute('aria-label', label);
  bar.setAttribute('aria-valuenow', Math.min(depth, limit));
  bar.setAttribute('aria-valuemin', 0);
  bar.setAttribute('aria-valuemax', limit);
  bar.setAttribute('aria-valuetext', say(depth) + ' of ' + say(limit));
}

// columns: {name, of: row => text, by: row => what to sort by, kind: class, bar: [kind, row => [label, depth, limit, say]]}.
// A column that is empty for every row is left out.
function makeTable(box, columns, nameOf, how) {
  const sorted = {by: how.by, down: true}, head = make('tr'), body = make('tbody');
  const table = make('table', {}, make('thead', how.by ? {class: 'sorts'} : {}, head), body);
  const headOf = (c, i) => {
    const cell = make('th', {scope: 'col', class: (c.kind || '').startsWith('right') ? 'right' : ''});
    if (!how.by) { cell.textContent = c.name; return cell; }
    const button = make('button', {type: 'button'}, c.name);
    button.addEventListener('click', () => {
      sorted.down = sorted.by === c.name ? !sorted.down : true;
      sorted.by = c.name;
      if (how.changed) how.changed();
    });
    cell.append(button);
    return cell;
  };
  columns.forEach((c, i) => head.append(headOf(c, i)));
  box.append(table);
  const empty = box.parentNode.insertBefore(make('p', {class: 'empty', hidden: ''}, how.empty || 'none'), box.nextSibling);
  return {set(rows, limit) {
    const c = columns.find(one => one.name === sorted.by), key = c && (c.by || c.of);
    if (c) rows = rows.slice().sort((a, b) => {
      const x = key(a), y = key(b), order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), undefined, {numeric: true});
      return (sorted.down ? -order : order) || (how.then ? how.then(a, b) : 0);
    });
    const shown = rows.slice(0, limit || rows.length), used = columns.map(one => one.always || shown.some(r => one.of(r) !== ''));
    columns.forEach((one, i) => {
      head.children[i].hidden = !used[i];
      if (one.name === sorted.by) head.children[i].setAttribute('aria-sort', sorted.down ? 'descending' : 'ascending');
      else head.children[i].removeAttribute('aria-sort');
    });
    keep(body, shown, nameOf, () => {
      const row = make('tr');
      for (const one of columns) {
        const cell = make('td', {class: one.kind || '', 'data-name': one.name});
        if (one.bar) cell.append(make('span', {}, makeBar(one.bar[0]), make('span'))); else cell.append(make('span'));
        row.append(cell);
      }
      return row;
    }, (row, r) => {
      row.className = how.mark ? how.mark(r) : '';
      if (how.data) Object.assign(row.dataset, how.data(r));
      columns.forEach((one, i) => {
        const cell = row.children[i], text = one.of(r);
        cell.hidden = !used[i];
        cell.className = (one.kind || '') + (text === '' ? ' none' : '') + (one.style ? ' ' + one.style(r) : '');
        put(one.bar ? cell.firstChild.lastChild : cell.firstChild, text);
        if (one.bar) setBar(cell.firstChild.firstChild, ...one.bar[1](r));
      });
    });
    box.hidden = !rows.length;
    empty.hidden = rows.length > 0;
    return shown.length;
  }};
}

const filling = (queued, limit, waits) => [queued ? bytes(queued) + ' / ' + bytes(limit) : known(queued) ? '0' : '?', waits].filter(t => t).join(' \u00b7 ');
const plain = n => known(n) ? number(n) : '';
const dim = of => row => (of(row) ? '' : 'zero');
let tables = null, filtered = '', rows = rowsShown, asked = looked;
function makeTables() {
  const rate = n => n >= 0.5 ? bytes(n) + '/s' : n === 0 ? '0' : '';
  tables = {
    shards: makeTable(byId('shards'), [
      {name: 'Shard', of: s => String(s.shard), always: true}, {name: 'Back end', of: s => s.backend + (s.backend === s.driver ? '' : ' on ' + s.driver)},
      {name: 'CPU', kind: 'right', of: s => s.seen ? percent(s.cpu) : '', style: s => s.cpu >= 0.9 ? 'alarm' : ''},
      {name: 'Turns/s', kind: 'right', of: s => s.seen ? number(s.perTurns) : ''}, {name: 'Longest turn', kind: 'right', of: s => s.seen && s.longest ? '\u2264 ' + time(s.longest) : ''},
      {name: 'Resumed/s', kind: 'right', of: s => s.seen ? number(s.perResumed) : ''}, {name: 'Root tasks', kind: 'right', of: s => plain(s.counts.shard_tasks)},
      {name: 'Connections', kind: 'right', of: s => number(s.connections)}, {name: 'Half open', kind: 'right', of: s => plain(s.counts.stack_half_open), style: dim(s => s.counts.stack_half_open)},
      {name: 'TIME_WAIT', kind: 'right', of: s => plain(s.counts.stack_time_wait), style: dim(s => s.counts.stack_time_wait)},
      {name: 'Memory of the stack', kind: 'right', of: s => known(s.counts.stack_memory) ? bytes(s.counts.stack_memory) + ' of ' + bytes(s.counts.stack_memory_limit) : ''}],
      s => 'shard ' + s.shard, {}),
    tasks: makeTable(byId('tasks'), [
      {name: 'Place', of: t => t.place, always: true}, {name: 'Count', kind: 'right', of: t => number(t.count), by: t => t.count},
      {name: 'Longest', kind: 'right', of: t => time(t.waited_us), by: t => t.waited_us}, {name: 'Waits for', kind: 'wide', of: t => t.waits_for},
      {name: 'Trouble', of: t => t.words, by: t => t.grave * 1e15 + t.waited_us, style: t => t.grave > 1 ? 'alarm' : 'warn'},
      {name: 'Function', kind: 'wide', of: t => t.function}, {name: 'Of', of: t => t.of}],
      t => t.key, {by: 'Trouble', changed: () => showTasks(), mark: t => ['', 'troubled', 'stuck'][t.grave], empty: 'No task waits, or the build does not show them.'}),
    connections: makeTable(byId('connections'), [
      {name: 'Peer', of: c => c.remote, always: true}, {name: 'Trouble', of: c => c.words, by: c => c.score, style: c => c.score >= 2 ? 'alarm' : 'warn', kind: 'words'},
      {name: 'State', of: c => c.state.replaceAll('_', ' ')},
      {name: 'Receive queue', kind: 'buffer', bar: ['receive', c => ['receive queue from ' + c.remote, c.receive_queued || 0, c.receive_limit || 0, bytes]], by: c => c.receive_queued || 0,
        of: c => filling(c.receive_queued, c.receive_limit, c.read_waits && 'read waits')},
      {name: 'Send queue', kind: 'buffer', bar: ['send', c => ['send queue to ' + c.remote, c.send_queued || 0, c.send_limit || 0, bytes]], by: c => c.send_queued || 0,
        of: c => filling(c.send_queued, c.send_limit, c.write_waits && 'write waits')},
      {name: 'In', kind: 'right', of: c => rate(c.perIn), by: c => c.perIn, style: dim(c => c.perIn)}, {name: 'Out', kind: 'right', of: c => rate(c.perOut), by: c => c.perOut, style: dim(c => c.perOut)},
      {name: 'RTT', kind: 'right extra', of: c => known(c.rtt_us) ? time(c.rtt_us) : '', by: c => c.rtt_us || 0}, {name: 'Window', kind: 'right extra', of: c => known(c.congestion_window) ? bytes(c.congestion_window) : '', by: c => c.congestion_window || 0},
      {name: 'Sent again', kind: 'right', of: c => plain(c.retransmissions), by: c => c.retransmissions || 0, style: dim(c => c.retransmissions)},
      {name: 'Local', of: c => c.local + (c.network ? ' on ' + c.network : '')}, {name: 'Shard', kind: 'right extra', of: c => String(c.shard), by: c => c.shard}],
      c => c.shard + ' ' + c.remote + ' ' + c.local, {by: 'Trouble', changed: () => showConnections(), mark: c => c.score >= 2 ? 'stuck' : c.score >= 1 ? 'troubled' : '',
        data: c => ({remote: c.remote, local: c.local}), then: (a, b) => fullness(b) - fullness(a) || b.perIn + b.perOut - a.perIn - a.perOut || (a.remote < b.remote ? -1 : 1), empty: 'No connection, or none that was looked for.'}),
    udp: makeTable(byId('udp'), [
      {name: 'Socket', of: s => (s.name ? s.name + ' ' : '') + s.local + (s.remote ? ' to ' + s.remote : ''), always: true},
      {name: 'Receive queue', kind: 'buffer', bar: ['udp', s => ['receive queue of ' + s.local, s.receive_queued || 0, s.receive_limit || 0, bytes]], by: s => s.receive_queued || 0,
        of: s => filling(s.receive_queued, s.receive_limit, s.read_waits && 'receive waits')},
      {name: 'Dropped', kind: 'right', of: s => plain(s.dropped), by: s => s.dropped || 0, style: s => s.dropped ? 'alarm' : 'zero'},
      {name: 'Received', kind: 'right', of: s => plain(s.received), by: s => s.received || 0}, {name: 'Sent', kind: 'right', of: s => plain(s.sent), by: s => s.sent || 0},
      {name: 'ICMP errors', kind: 'right', of: s => plain(s.icmp_errors), by: s => s.icmp_errors || 0, style: dim(s => s.icmp_errors)}, {name: 'Shard', kind: 'right', of: s => String(s.shard)}],
      s => s.shard + ' ' + s.local + ' ' + s.remote, {by: 'Dropped', changed: () => show(latest, false)}),
    drops: makeTable(byId('drops'), [
      {name: 'What', kind: 'wide', of: d => d.words, always: true}, {name: 'Now', kind: 'right', of: d => d.rate ? perSecond(d.rate) : '0', style: d => d.rate ? d.grave > 1 ? 'alarm' : d.grave ? 'warn' : '' : 'zero'},
      {name: 'Since the start', kind: 'right', of: d => number(d.total)}, {name: 'Counter', of: d => d.name}],
      d => d.name, {mark: d => d.rate && d.grave > 1 ? 'stuck' : d.rate && d.grave ? 'troubled' : '', empty: 'Nothing was dropped or turned away since the start.'}),
    own: makeTable(byId('own'), [
      {name: 'Name', of: o => o.name + o.labels, always: true}, {name: 'Value', kind: 'right', of: o => number(o.value)}, {name: 'Now', kind: 'right', of: o => o.grows ? perSecond(o.rate) : '', style: dim(o => o.rate)}, {name: 'Meaning', kind: 'wide', of: o => o.help}],
      o => o.name + o.labels, {})};
}

// --- Connections, the worst first.
const fullness = c => Math.max((c.receive_queued || 0) / (c.receive_limit || 1), (c.send_queued || 0) / (c.send_limit || 1));
let connectionsBefore = new Map(), connections = [];
function judgeConnections(state, seconds) {
  const seen = new Map();
  connections = state.connections.map(c => {
    const key = c.shard + ' ' + c.remote + ' ' + c.local, before = connectionsBefore.get(key), words = [];
    let score = 0;
    const trouble = (n, text) => { score = Math.max(score, n); words.push(text); };
    const per = name => before && known(c[name]) && seconds ? Math.max(0, c[name] - (before[name] || 0)) / seconds : before ? before['per_' + name] || 0 : 0;
    const out = {...c, perIn: per('bytes_received'), perOut: per('bytes_sent')};
    if (c.send_queued > 0 && c.send_window === 0) trouble(3, 'peer does not read');
    else if (c.write_waits && c.send_queued > 0 && out.perOut < 1 && before) trouble(2.5, 'peer does not read, or is gone');
    if (c.receive_queued / (c.receive_limit || 1) >= 0.5 && !c.read_waits) trouble(2.2, 'program does not read');
    if (c.congestion_state === 'loss') trouble(2, 'packets are lost');
    else if (c.congestion_state === 'recovery') trouble(1.5, 'loses packets');
    if (before && c.retransmissions > before.retransmissions) trouble(1.2, 'sends again');
    if (c.state === 'close_wait') trouble(1, 'peer has ended, program has not');
    seen.set(key, {...c, per_bytes_received: out.perIn, per_bytes_sent: out.perOut});
    return {...out, score, words: words.join(', ')};
  });
  connectionsBefore = seen;
}
function showConnections() {
  const on = byId('on').value, only = byId('troubled').checked, state = latest;
  const found = connections.filter(c => (!on || c.local === on) && (!only || c.score >= 1) &&
    (!filtered || (c.remote + ' ' + c.local + ' ' + c.state + ' ' + c.words + ' ' + (c.network || '')).toLowerCase().includes(filtered)));
  const shown = tables.connections.set(found, rows), all = sum(state.shards, s => s.connections);
  put(byId('connections-count'), (shown < found.length || found.length < connections.length ? shown + ' of ' : '') + (connections.length < all ? connections.length + ' looked at, of ' : '') + number(all) +
    (all ? ', ' + connections.filter(c => c.score >= 1).length + ' with trouble' : ''));
  byId('more').hidden = shown >= found.length && (connections.length >= all || asked === lookedAtMost);
  put(byId('more'), shown < found.length ? 'Show more' : 'Look at more of them (up to ' + lookedAtMost + ' of each shard)');
}

// --- Tasks by place.
let groups = [];
function judgeTasks(answer) {
  const all = new Map(), quiet = /^(accept|sleep|stop|a turn|the end of a scope|signal)/, reads = /^(read|receive)/;
  for (const g of answer.groups) {
    const waiting = g.operation || '', of = g.belongs.name || (g.belongs.to === 'scope' ? 'scope ' + g.belongs.place : g.belongs.to);
    const key = [g.place, g.function, waiting, of].join(' '), one = all.get(key);
    if (!one) all.set(key, {...g, key, of, shards: 1});
    else { one.count += g.count; one.waited_us = Math.max(one.waited_us, g.waited_us); one.asked_to_end = one.asked_to_end || g.asked_to_end; ++one.shards; }
  }
  groups = [...all.values()].map(g => {
    const long = g.waited_us >= 10e6, reading = reads.test(g.operation);
    let grave = 0, words = '';
    if (g.asked_to_end && g.waited_us >= 1e6) [grave, words] = [2, 'was asked to end, and has not'];
    else if (long && !quiet.test(g.operation) && !reading && g.operation !== 'write') [grave, words] = [2, 'stuck'];
    else if (long && g.operation === 'write') [grave, words] = [1, 'the peer does not read'];
    else if (long && reading && !known(g.ends_in_us)) [grave, words] = [1, 'reads without a time limit'];
    return {...g, grave, words, waits_for: g.count > 1 ? g.waits_for + ', ...' : g.waits_for};
  });
  const silent = answer.silent_shards.length;
  put(byId('tasks-count'), count(sum(answer.shards, s => s.tasks), 'task', 'tasks') + ' at ' + count(groups.length, 'place', 'places') + (answer.places_known ? '' : ' (places are not built in)') + (silent ? '; ' + count(silent, 'shard is', 'shards are') + ' silent' : ''));
}
function showTasks() { tables.tasks.set(groups, 100); }

// --- Listeners, those of all shards together.
function makeQueue(kind, label) {
  const line = {accept: 0, syn: 1}[kind], key = known(line) ? [make('span', {class: 'key', style: 'color: var(--a' + line + ')', 'aria-hidden': 'true'}, '\u25ac')] : [];
  return make('div', {class: 'queue'}, make('span', {}, ...key, label), makeBar(kind), make('span', {class: 'number'}));
}
function setQueue(row, label, depth, limit) {
  row.hidden = !known(depth) || !known(limit);
  if (row.hidden) return;
  setBar(row.children[1], label, depth, limit, String);
  put(row.children[2], number(depth) + ' / ' + number(limit));
  row.children[2].classList.toggle('zero', !depth);
}
function listenerGroups(state) {
  const out = new Map();
  for (const l of state.listeners) {
    const key = groupKey(l), g = out.get(key) || {key, local: l.local, name: l.name, network: l.network, sharing: l.sharing, policy: l.policy, members: []};
    g.members.push(l);
    g.name = g.name || l.name;
    out.set(key, g);
  }
  const all = key => (g => g.members.some(m => known(m[key])) ? sum(g.members, m => m[key]) : undefined);
  for (const g of out.values()) for (const key of ['accept_queue', 'backlog', 'syn_queue', 'syn_backlog', 'accepted_ahead', 'accepted_ahead_limit', 'accepted', 'accept_overflows', 'syn_overflows', 'syn_expired', 'cookies_sent', 'deferred']) g[key] = all(key)(g);
  for (const g of out.values()) { g.longest = most(g.members, m => m.accept_wait_longest_us); g.peak = most(g.members, m => m.accept_queue_peak); }
  return [...out.values()].sort((a, b) => (b.accept_overflows || 0) + (b.syn_overflows || 0) - (a.accept_overflows || 0) - (a.syn_overflows || 0) || (b.accepted || 0) - (a.accepted || 0));
}
let drawn = 0;
const mostDrawn = 8;  // listeners whose queues have a line
function makeCard(g) {
  const chart = make('div', {class: 'chart'}), card = make('div', {class: 'card', 'data-listener': g.local}, make('h3', {}, make('span', {}, make('b'), ' ', make('code')), make('span', {class: 'faint'})),
    makeQueue('syn', 'SYN queue'), makeQueue('accept', 'Accept queue'), makeQueue('ahead', 'Taken ahead'), make('div', {class: 'tallies'}), chart,
    make('details', {class: 'members'}, make('summary', {}, 'By shard'), make('table', {}, make('tbody'))));
  chart.hidden = true;
  return card;
}
function setCard(card, g) {
  const [title, syn, accept, ahead, tallies, chart, members] = card.children;
  if (chart.hidden && drawn < mostDrawn && (g.accept_queue || g.syn_queue || g.peak)) {  // a line once there is something to see
    ++drawn;
    chart.hidden = false;
    queueMicrotask(() => makeChart(chart, 'Queues of ' + g.local, ['accept queue', 'SYN queue'], s => s.listeners[g.key] || [0, 0], {floor: 4, show: v => Number.isInteger(v) ? number(v) : ''}));  // once the card has its place
  }
  put(title.querySelector('b'), g.name || '');
  put(title.querySelector('code'), g.local);
  put(title.lastChild, [g.network ? 'network ' + g.network : '', g.members.length > 1 ? g.members.length + ' shards' : 'shard ' + g.members[0].shard, g.sharing && g.sharing !== 'exclusive' ? g.sharing + (g.policy ? ' by ' + g.policy : '') : ''].filter(t => t).join(' \u00b7 '));
  setQueue(syn, 'SYN queue of ' + g.key, g.syn_queue, g.syn_backlog);
  setQueue(accept, 'accept queue of ' + g.key, g.accept_queue, g.backlog);
  setQueue(ahead, 'taken ahead on ' + g.key, g.accepted_ahead, g.accepted_ahead_limit);
  const words = [['accepted', 'accepted', 0], ['accept_overflows', 'accept overflows', 2], ['syn_overflows', 'SYN overflows', 2], ['syn_expired', 'expired', 1], ['cookies_sent', 'cookies sent', 1], ['deferred', 'deferred', 0]].filter(([key]) => known(g[key]))
    .map(([key, word, grave]) => ({text: number(g[key]) + ' ' + word, look: !g[key] ? 'zero' : grave === 2 ? 'alarm' : grave ? 'warn' : ''}));
  if (g.peak) words.push({text: 'peak ' + number(g.peak), look: ''});
  if (g.longest) words.push({text: 'longest wait ' + time(g.longest), look: ''});
  keep(tallies, words, w => w.text.replace(/^[\d. kMG]+/, ''), () => make('span'), (e, w) => { put(e, w.text); e.className = w.look; });
  card.classList.toggle('full', (g.accept_overflows || 0) + (g.syn_overflows || 0) > 0);
  members.hidden = g.members.length < 2;
  if (members.open) keep(members.querySelector('tbody'), g.members, m => 'shard ' + m.shard, () => make('tr', {}, make('td'), make('td', {class: 'right'}), make('td', {class: 'right'}), make('td', {class: 'right'})), (row, m) => {
    put(row.children[0], 'shard ' + m.shard);
    put(row.children[1], known(m.accept_queue) ? m.accept_queue + ' / ' + m.backlog + ' wait' : '');
    put(row.children[2], number(m.accepted) + ' accepted');
    put(row.children[3], known(m.accept_overflows) ? m.accept_overflows + ' overflows' : '');
    row.children[3].className = 'right ' + (m.accept_overflows ? 'alarm' : 'zero');
  });
}

// --- HTTP and TLS, and the program's own.
function layersOf(state, before, seconds) {
  const out = [], per = name => before && seconds ? Math.max(0, total(state, name) - total(before, name)) / seconds : 0;
  const layer = (title, prefix, rows) => { if (state.shards.some(s => known(s.counts[prefix + rows[0][0]]))) out.push({title, rows: rows.map(([name, words, grave, level]) => ({words, grave, value: total(state, prefix + name), rate: level ? undefined : per(prefix + name)}))}); };
  layer('HTTP', 'http_', [['requests', 'requests', 0], ['connections', 'connections', 0], ['failures', 'handlers that threw', 2], ['refused_requests', 'refused requests', 1], ['refused_bodies', 'refused bodies', 1], ['slow_bodies', 'bodies that took too long', 1], ['slow_readers', 'clients that did not read', 1], ['refused_streams', 'refused HTTP/2 streams', 1], ['floods', 'HTTP/2 floods', 2], ['failed_upgrades', 'failed upgrades', 1], ['refused_connections', 'refused connections', 2], ['failed_handshakes', 'failed handshakes', 1]]);
  for (const [title, prefix] of [['TLS, as server', 'tls_server_'], ['TLS, as client', 'tls_client_']])
    layer(title, prefix, [['sessions', 'sessions that live', 0, true], ['handshakes', 'handshakes', 0], ['resumed', 'of these resumed', 0], ['failed', 'failed', 1], ['displaced', 'made way for newer ones', 2]]);
  return out;
}
function showLayers(state, before, seconds) {
  const all = layersOf(state, before, seconds);
  byId('layers-section').hidden = !all.length;
  keep(byId('layers'), all, l => l.title, l => make('div', {class: 'card'}, make('h3', {}, l.title), make('table', {}, make('tbody'))), (card, l) =>
    keep(card.querySelector('tbody'), l.rows, r => r.words, () => make('tr', {}, make('td'), make('td', {class: 'right'}), make('td', {class: 'right'})), (row, r) => {
      put(row.children[0], r.words);
      put(row.children[1], known(r.rate) ? perSecond(r.rate) : '');
      put(row.children[2], number(r.value));
      row.className = !r.value ? 'zero' : r.grave > 1 ? 'alarm' : r.grave ? 'warn' : '';
    }));
}
let ownBefore = new Map();
function showOwn(state, seconds) {
  const all = new Map();
  for (const o of state.own) {
    const labels = Object.entries(o.labels).map(([name, value]) => name + '="' + value + '"').join(', '), key = o.name + (labels ? ' {' + labels + '}' : '');
    const one = all.get(key) || {name: o.name, labels: labels ? ' {' + labels + '}' : '', help: o.help, grows: o.grows, value: 0};
    one.value += o.value;
    all.set(key, one);
  }
  for (const [key, one] of all) {
    const before = ownBefore.get(key);
    one.rate = before && seconds ? Math.max(0, one.value - before.value) / seconds : before ? before.rate : 0;
  }
  if (seconds || !ownBefore.size) ownBefore = all;
  byId('own-section').hidden = !all.size && !state.pages.length;
  byId('own-pages').hidden = !state.pages.length;
  keep(byId('own-pages'), state.pages, p => p, p => make('a', {href: '/own/' + encodeURIComponent(p), style: 'margin-right: 1rem'}, p), () => {});
  tables.own.set([...all.values()]);
}
