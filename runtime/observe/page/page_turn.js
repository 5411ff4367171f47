// --- A turn: ask, show, wait.
function showShards(state) {
  const now = samples[samples.length - 1], before = past(10);
  const rows = state.shards.map((s, i) => ({...s, seen: !!now && now.cpu.length === state.shards.length, cpu: now ? now.cpu[i] : 0, perTurns: now ? now.turns[i] : 0, perResumed: now ? now.resumed[i] : 0, longest: most(before, p => p.worst[i])}));
  tables.shards.set(rows);
  put(byId('shards-count'), String(state.shards.length) + (state.silent_shards.length ? ', and ' + state.silent_shards.length + ' that do not answer' : ''));
  if (!now || now.cpu.length !== state.shards.length) return;
  const keys = (values, show) => tiles.lines(values).map((v, i) => [tiles.names[i], show(v)]);
  tiles.cpu.keys(keys(now.cpu, percent));
  tiles.turns.keys(keys(now.turns, perSecond));
}
function showTraffic(state) {
  const recent = past(3), mean = key => recent.length ? sum(recent, s => s[key] * s.seconds) / sum(recent, s => s.seconds) : 0;
  if (tiles.requests) tiles.requests.set('', perSecond(mean('requests')), number(total(state, 'http_requests')) + ' since the start');
  tiles.bytes.keys([['in', bytes(mean('received')) + '/s'], ['out', bytes(mean('sent')) + '/s']]);
  if (!tiles.bytes.note.dataset.held) put(tiles.bytes.note, bytes(moved(state, 'received')) + ' in, ' + bytes(moved(state, 'sent')) + ' out' + (state.shards.some(s => s.stack) ? ', headers included' : ''));
  tiles.accepts.set('', perSecond(mean('accepts')), number(sum(state.listeners, l => l.accepted)) + ' since the start');
  const open = sum(state.shards, s => s.connections);
  tiles.connections.set('', number(open), 'at most ' + number(Math.max(open, most(samples, s => s.connections))) + ' while this page looked');
}
function showDrops(state) {
  const recent = past(5), seconds = sum(recent, s => s.seconds);
  const all = [...refusals(state)].map(([name, n]) => ({name, words: reasons[name][0], grave: reasons[name][1], total: n, rate: seconds ? sum(recent, s => s.added.get(name)) / seconds : 0}));
  all.sort((a, b) => (b.rate > 0) - (a.rate > 0) || b.grave - a.grave || b.rate - a.rate || b.total - a.total);
  tables.drops.set(all);
}
function listenersInFilter(all) {
  const select = byId('on'), names = all.map(g => g.local), there = Array.from(select.options).slice(1).map(o => o.value);
  if (names.join() === there.join()) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...all.map(g => make('option', {value: g.local}, (g.name ? g.name + ' ' : '') + g.local)));
  select.value = names.includes(chosen) ? chosen : '';
}
function show(state, asked_) {
  if (!tables) makeTables();
  if (!tiles.lag) makeTiles(state);
  const fresh = asked_ && (!previous || state.taken_us - previous.taken_us >= 900e3 || state.started !== previous.started);
  const before = previous, restarted = previous && (previous.started !== state.started || previous.shards.length !== state.shards.length);
  const seconds = fresh && before && !restarted ? (state.taken_us - before.taken_us) / 1e6 : 0;
  if (restarted) samples = [];
  latest = state;
  if (fresh) {
    if (seconds) samples.push(sampleOf(state, before));
    samples = samples.filter(s => s.at > Date.now() - kept * 1000);
    previous = state;
  }
  put(byId('program'), state.program);
  put(byId('process'), 'pid ' + state.pid + ' \u00b7 up ' + time((Date.now() / 1000 - state.started) * 1e6) + ' \u00b7 weir ' + state.version);
  judge(state);
  showTraffic(state);
  showShards(state);
  const listeners = listenerGroups(state);
  put(byId('listeners-count'), number(listeners.length) + (state.listeners_left_out ? ', and ' + state.listeners_left_out + ' left out' : ''));
  keep(byId('listeners'), listeners, g => g.key, makeCard, setCard);
  listenersInFilter(listeners);
  if (fresh || !connections.length) judgeConnections(state, seconds);
  else {
    const judged = new Map(connections.map(c => [c.shard + ' ' + c.remote + ' ' + c.local, c]));
    connections = state.connections.map(c => { const old = judged.get(c.shard + ' ' + c.remote + ' ' + c.local) || {score: 0, words: '', perIn: 0, perOut: 0}; return {...c, score: old.score, words: old.words, perIn: old.perIn, perOut: old.perOut}; });
  }
  showConnections();
  byId('udp-section').hidden = !state.udp_sockets.length;
  put(byId('udp-count'), number(state.udp_sockets.length + state.udp_sockets_left_out));
  tables.udp.set(state.udp_sockets, 100);
  if (fresh || !before) showLayers(state, before, seconds);
  showDrops(state);
  showOwn(state, seconds);
  if (fresh) drawCharts();
  document.body.dataset.updates = Number(document.body.dataset.updates || 0) + 1;
  document.body.dataset.samples = samples.length;
}

let paused = false, timer = 0, tasksAt = 0;
byId('pause').addEventListener('click', () => {
  paused = !paused;
  byId('pause').setAttribute('aria-pressed', String(paused));
  put(byId('pause'), paused ? 'Go on' : 'Pause');
});
byId('period').addEventListener('change', () => { clearTimeout(timer); turn(); });
byId('filters').addEventListener('submit', event => event.preventDefault());
byId('find').addEventListener('input', () => { filtered = byId('find').value.trim().toLowerCase(); rows = rowsShown; if (latest) showConnections(); });
for (const id of ['on', 'troubled']) byId(id).addEventListener('change', () => { if (latest) showConnections(); });
byId('more').addEventListener('click', () => { if (rows < connections.length) rows *= 4; else { asked = lookedAtMost; rows = Math.max(rows, 200); } showConnections(); });

async function ask(target) {
  const answer = await fetch(target, {cache: 'no-store'});
  if (!answer.ok) throw new Error('HTTP ' + answer.status);
  return answer.json();
}
async function turn() {
  if (!paused && !document.hidden) {
    try {
      show(await ask('/sockets?connections=' + asked), true);
      if (performance.now() >= tasksAt) {
        const begun = performance.now();
        judgeTasks(await ask('/tasks?listed=0'));
        showTasks();
        tasksAt = performance.now() + Math.max(tasksEvery, 20 * (performance.now() - begun));  // a dump of a million is not asked for all the time
      }
    } catch (error) {
      byId('verdict').className = 'verdict bad';
      put(byId('verdict'), '\u2715 No answer: ' + error.message + (latest ? '. What stands below is old.' : ''));
    }
  }
  clearTimeout(timer);
  timer = setTimeout(turn, Number(byId('period').value));
}
turn();
