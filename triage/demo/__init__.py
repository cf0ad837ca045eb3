"""The second half of `vmmib demo`: a site whose node stands still, and what triage says of it.

Real: `triage run` with a configuration file, its receiver of notifications, SNMP, the virtual
machine's state, snmpd and the agent, the alert over HTTP, every command that is shown.

Stood in for, and the demo says so:
- the Kubernetes API: objects and errors as a real one gave them, under other names (`cluster/`),
  served by `triage.kube.recorded`. Its node `worker-1` has the UUID of the virtual machine;
- the site (`site.py`): it answers while the virtual machine runs, and writes its proxies' and its
  application's logs, in the lines that Envoy and uvicorn wrote;
- Prometheus and the blackbox exporter (`monitor.py`): it probes that site over HTTP, and answers
  queries for its samples;
- whoever receives alerts (`receiver.py`).

Nothing in here knows what the verdict is to be: the site fails because the machine does not run,
and the story (`story.py`) fails when triage says anything else.
"""
