'use strict';
(() => {
  const byID = (id) => document.getElementById(id);
  const { pools: poolsPath, ports: portsPath, refresh } = document.body.dataset;
  const states = ['free', 'claimed', 'bound', 'releasing', 'cooldown', 'blocked', 'available', 'total'];
  let token = '';
  let timer = 0;

  // All values are inserted as text, never as HTML: names and reasons come from others.
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
    byID(id).tHead.replaceChildren(head);
    byID(id).tBodies[0].replaceChildren(...rows.map((values) => row('td', values)));
  };
  const setStatus = (text, isError) => {
    const status = byID('status');
    status.setAttribute('role', isError ? 'alert' : 'status');
    if (status.textContent !== text) status.textContent = text;
  };

  const get = async (path) => {
    const response = await fetch(path, {
      headers: { Authorization: 'Bearer ' + token }, cache: 'no-store', credentials: 'omit', redirect: 'error',
    });
    const body = await response.json();
    if (response.ok) return body;
    const problem = new Error(body.detail);
    problem.rejected = response.status === 401 || response.status === 403;
    throw problem;
  };

  const condition = (lb) => [
    lb.leftOut && 'left out: ' + lb.leftOut, lb.cordoned && 'cordoned: ' + lb.cordoned,
    lb.removed && 'removed from the pool file', lb.empty && 'empty',
  ].filter(Boolean).join('; ') || 'in use';

  const show = (pools, ports) => {
    table('pools', ['Pool', 'Placement', 'Protocols', 'Waiting claims', ...states],
      pools.map((p) => [p.name, p.placement, p.protocols.join(', '), p.waiting, ...states.map((s) => p.ports[s] ?? 0)]));
    table('load-balancers', ['Pool', 'Load balancer', 'Host', 'Condition', 'Held', 'Listeners', 'Limit'],
      pools.flatMap((p) => p.loadBalancers.map((lb) =>
        [p.name, lb.id, lb.host, condition(lb), lb.held, lb.listeners, lb.listenerLimit])));
    table('ports', ['Port', 'State', 'Holder', 'Generation', 'Changed', 'Notes'],
      ports.map((p) => [p.lease, p.state, p.pod && p.namespace + '/' + p.pod, p.generation, p.changedAt,
        [p.blockedBy, p.foreign && 'foreign listener ' + p.foreign].filter(Boolean).join('; ')]));
    byID('content').hidden = false;
  };

  const clear = () => {
    token = '';
    byID('content').hidden = true;
    for (const id of ['pools', 'load-balancers', 'ports']) byID(id).tBodies[0].replaceChildren();
  };

  const load = async () => {
    clearTimeout(timer);
    const used = token;
    if (used === '') return;
    try {
      const [pools, ports] = await Promise.all([get(poolsPath), get(portsPath)]);
      if (used !== token) return;
      show(pools.pools, ports.ports);
      setStatus('Live, as one replica sees it.');
    } catch (problem) {
      if (used !== token) return;
      if (problem.rejected) clear();
      setStatus(problem.message, true);
    }
    if (token !== '' && !document.hidden) timer = setTimeout(load, Number(refresh));
  };

  byID('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    clear();
    token = byID('token').value.trim();
    byID('token').value = '';
    setStatus('Loading…');
    load();
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) load(); });
})();
