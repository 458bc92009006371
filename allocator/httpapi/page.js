'use strict';
(() => {
  const find = (id) => document.getElementById(id);
  const { pools: poolsPath, ports: portsPath, refresh } = document.body.dataset;
  const states = ['free', 'claimed', 'bound', 'releasing', 'cooldown', 'blocked', 'available', 'total'];
  let token = '';
  let timer = 0;

  // Everything is put in as text: names and reasons are other people's words.
  const cell = (tag, value) => {
    const made = document.createElement(tag);
    made.textContent = value ?? '';
    if (typeof value === 'number') made.className = 'number';
    return made;
  };
  const row = (tag, values) => {
    const made = document.createElement('tr');
    for (const value of values) made.append(cell(tag, value));
    return made;
  };
  const table = (id, names, rows) => {
    const head = row('th', names);
    for (const name of head.children) name.scope = 'col';
    find(id).tHead.replaceChildren(head);
    find(id).tBodies[0].replaceChildren(...rows.map((values) => row('td', values)));
  };
  const say = (text, alarm) => {
    const state = find('state');
    state.setAttribute('role', alarm ? 'alert' : 'status');
    if (state.textContent !== text) state.textContent = text;
  };

  const ask = async (path) => {
    const answer = await fetch(path, {
      headers: { Authorization: 'Bearer ' + token }, cache: 'no-store', credentials: 'omit', redirect: 'error',
    });
    const body = await answer.json();
    if (answer.ok) return body;
    const problem = new Error(body.detail);
    problem.refused = answer.status === 401 || answer.status === 403;
    throw problem;
  };

  const condition = (lb) => [
    lb.leftOut && 'left out: ' + lb.leftOut, lb.cordoned && 'cordoned: ' + lb.cordoned,
    lb.removed && 'removed from the pool file', lb.empty && 'empty',
  ].filter(Boolean).join('; ') || 'in use';

  const show = (pools, ports) => {
    table('pools', ['Pool', 'Placement', 'Protocols', 'Waiting claims', ...states],
      pools.map((p) => [p.name, p.placement, p.protocols.join(', '), p.waiting, ...states.map((s) => p.ports[s] ?? 0)]));
    table('balancers', ['Pool', 'Load balancer', 'Host', 'Condition', 'Held', 'Listeners', 'Limit'],
      pools.flatMap((p) => p.loadBalancers.map((lb) =>
        [p.name, lb.id, lb.host, condition(lb), lb.held, lb.listeners, lb.listenerLimit])));
    table('ports', ['Port', 'State', 'Holder', 'Generation', 'Since', 'Remark'],
      ports.map((p) => [p.lease, p.state, p.pod && p.namespace + '/' + p.pod, p.generation, p.changedAt,
        [p.blockedBy, p.foreign && 'foreign listener ' + p.foreign].filter(Boolean).join('; ')]));
    find('shown').hidden = false;
  };

  const forget = () => {
    token = '';
    find('shown').hidden = true;
    for (const id of ['pools', 'balancers', 'ports']) find(id).tBodies[0].replaceChildren();
  };

  const read = async () => {
    clearTimeout(timer);
    const asked = token;
    if (asked === '') return;
    try {
      const [pools, ports] = await Promise.all([ask(poolsPath), ask(portsPath)]);
      if (asked !== token) return;
      show(pools.pools, ports.ports);
      say('As one replica sees it now.');
    } catch (problem) {
      if (asked !== token) return;
      if (problem.refused) forget();
      say(problem.message, true);
    }
    if (token !== '' && !document.hidden) timer = setTimeout(read, Number(refresh));
  };

  find('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    forget();
    token = find('token').value.trim();
    find('token').value = '';
    say('Reading…');
    read();
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) read(); });
})();
