"""How the page looks: what it has beyond an incident's page (`triage.views.page`)."""

from __future__ import annotations

from triage.syslog.report.svg import DARK, LIGHT, STYLE, variables

_LIGHT = variables(LIGHT)
_DARK = variables(DARK)

REPORT_STYLE = f"""
:root {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
h2 {{ font-size: 21px; margin-top: 44px; padding-top: 14px; border-top: 1px solid var(--line); }}
h3 {{ font-size: 16px; margin: 22px 0 8px; }}
nav {{ display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 10px 0 18px; font-size: 14px; }}
a {{ color: var(--window); text-decoration-thickness: 1px; text-underline-offset: 2px; }}
ol.findings {{ list-style: none; margin: 0 0 8px; padding: 0; }}
ol.findings > li {{ background: var(--card); border-left: 5px solid var(--soft);
  border-radius: 0 8px 8px 0; margin: 0 0 12px; padding: 12px 18px; overflow-wrap: anywhere; }}
ol.findings > li.outage {{ border-left-color: var(--bad); }}
ol.findings h3 {{ margin: 0 0 4px; font-size: 17px; }}
ol.findings li.minor {{ padding: 7px 14px; border-left-width: 3px; margin-bottom: 6px; }}
ol.findings li.minor h4 {{ margin: 0; font-size: 14px; font-weight: 600; }}
ol.findings p {{ margin: 2px 0 6px; }}
ol.findings li.minor p {{ font-size: 14px; }}
.score {{ float: right; margin-left: 12px; color: var(--soft); font-size: 13px;
  font-variant-numeric: tabular-nums; }}
li.outage .score {{ color: var(--bad); font-weight: 600; }}
.hosts {{ display: flex; flex-wrap: wrap; gap: 4px 6px; list-style: none; padding: 0;
  margin: 4px 0 8px; font-size: 12.5px; }}
.hosts li {{ border: 1px solid var(--line); border-radius: 5px; padding: 0 7px;
  background: var(--paper); }}
h4 {{ font-size: 13px; margin: 10px 0 3px; color: var(--soft); font-weight: 600; }}
ol.findings li.minor h4 {{ color: inherit; }}
.log {{ list-style: none; margin: 2px 0 4px; padding: 7px 10px; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; }}
.log, code, td.text {{ font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }}
.log li {{ overflow-wrap: anywhere; padding-left: 1.4em; text-indent: -1.4em; }}
.log .at {{ color: var(--soft); margin-right: .8em; white-space: nowrap; }}
mark {{ background: var(--mark); color: inherit; border-radius: 3px; padding: 0 1px; }}
details > summary {{ cursor: pointer; color: var(--window); font-size: 13.5px; margin: 4px 0; }}
figure.drawn {{ margin: 0 0 26px; break-inside: avoid; }}
figure.drawn svg {{ {STYLE}; display: block; width: 100%; min-width: 720px; height: auto; }}
figure.drawn figcaption {{ font-size: 14px; max-width: 92ch; margin-top: 6px; }}
figure.drawn figcaption b {{ display: block; font-size: 15px; }}
.scroll.plain {{ border: 0; padding: 0; border-radius: 0; }}
.scroll table {{ min-width: 660px; }}
td.number, th.number {{ text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }}
td.text {{ min-width: 300px; }}
td .id {{ color: var(--soft); font-size: 11.5px; }}
.facts-table td:first-child {{ white-space: nowrap; color: var(--soft); }}
@media (max-width: 640px) {{
  body {{ padding: 16px 14px 40px; font-size: 14.5px; }} h1 {{ font-size: 23px; }}
  ol.findings > li {{ padding: 10px 12px; }} .score {{ float: none; margin: 0; display: block; }}
  dl.facts {{ grid-template-columns: 1fr; }} }}
@media print {{ :root {{ {_LIGHT} }} figure.drawn svg {{ min-width: 0; }}
  nav {{ display: none; }} }}
"""
