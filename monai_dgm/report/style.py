"""Style sheet of the report page."""

STYLE = """
:root { --ink: #1b1f24; --soft: #5b6470; --line: #e3e7ec; --paper: #fff; --back: #f4f6f8; --accent: #2563eb;
  --box: #2ee6c5; }
* { box-sizing: border-box; }
html { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header > div, footer > div { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { background: #12161c; color: #f2f4f7; padding: 30px 0 26px; }
header h1 { margin: 0 0 6px; font-size: 27px; line-height: 1.2; letter-spacing: -0.01em; }
header p { margin: 6px 0 0; max-width: 78ch; color: #c3cad4; }
header .stamp { color: #8993a1; font-size: 13px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px;
  margin: 20px 0; }
h2 { margin: 0 0 12px; font-size: 19px; }
h3 { margin: 20px 0 8px; font-size: 13px; text-transform: uppercase; letter-spacing: .06em; color: var(--soft); }
h3:first-of-type { margin-top: 0; }
.hint { color: var(--soft); font-size: 13px; margin: -6px 0 14px; }
.warnings { border-left: 5px solid #f08c00; background: #fff8ec; }
.warnings ul, .notes ul { margin: 0; padding-left: 20px; }
.fine { color: #2b8a3e; font-size: 14px; margin: 18px 2px -4px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 20px 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  display: flex; flex-direction: column; }
.card .label { font-size: 13px; color: var(--soft); line-height: 1.3; min-height: 2.6em; }
.card .value { font-size: 30px; font-weight: 650; letter-spacing: -0.02em; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.card .interval { font-size: 13px; color: var(--soft); font-variant-numeric: tabular-nums; }
.card .under { font-size: 12px; color: var(--soft); margin-top: 4px; }
.panels { background: #12161c; border-color: #12161c; color: #e8ebef; }
.panels .hint, .panels figcaption small { color: #98a2af; }
.panel { margin: 0 0 16px; }
.panel figcaption { font-size: 13px; margin: 0 0 4px; }
.panel figcaption small { margin-left: 8px; font-size: 12px; }
.cells, .heads { display: grid; gap: 6px; }
.heads { font-size: 12px; letter-spacing: .05em; text-transform: uppercase; color: #98a2af; margin: 0 0 6px; }
.heads span { text-align: center; }
.cell { display: block; width: 100%; background: #08090c; border-radius: 4px; overflow: hidden; }
.cell.unknown { display: flex; align-items: center; justify-content: center; color: #5b6470; font-size: 12px;
  aspect-ratio: 1; }
.cell rect { fill: none; vector-effect: non-scaling-stroke; }
.cell .box { stroke: var(--box); stroke-width: 1.8; }
.cell .lungs { stroke: #fff; stroke-opacity: .55; stroke-width: 1; stroke-dasharray: 5 4; }
.cell .name { display: none; fill: #fff; paint-order: stroke; stroke: #08090c; }
.cell .heat { transition: opacity .15s; }
.cell:hover .heat { opacity: 0; }
.scale { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; font-size: 12px; color: #c3cad4;
  margin: 0 0 14px; }
.scale img { width: 220px; height: 12px; border-radius: 3px; image-rendering: auto; }
.scale .key { display: inline-block; width: 15px; height: 11px; border: 2px solid var(--box); margin-left: 20px; }
.scale .key.lungs { border: 1px dashed #fff; opacity: .7; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; font-size: 12px; color: var(--soft); border-bottom: 1px solid var(--line);
  padding: 6px 8px; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); padding: 8px; vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.main { font-weight: 650; }
.nowrap { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--soft); }
.metrics td:first-child { min-width: 260px; }
.metrics .section td { background: #f7f8fa; font-size: 12px; text-transform: uppercase; letter-spacing: .06em;
  color: var(--soft); font-weight: 600; padding: 7px 8px; }
.meaning, .note { display: block; font-size: 12px; color: var(--soft); }
.note { color: #b35900; }
.arrow { color: var(--soft); }
.chip { display: block; font-size: 12px; color: var(--soft); white-space: nowrap; font-variant-numeric: tabular-nums; }
.chip i { color: #b35900; font-style: normal; }
.chip b { color: var(--ink); font-weight: 600; }
.bar { width: 120px; height: 18px; }
.bar .axis { stroke: var(--line); stroke-width: 2; }
.bar .span { stroke: var(--accent); stroke-width: 3; stroke-opacity: .35; }
.bar circle { fill: var(--accent); }
.bar .rival { stroke: #e8590c; stroke-width: 1.5; }
details { margin: 0 0 8px; }
summary { cursor: pointer; font-weight: 600; padding: 6px 0; }
summary small { color: var(--soft); font-weight: 400; margin-left: 6px; }
.settings { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.settings td { padding: 3px 8px; overflow-wrap: anywhere; }
.settings td:first-child { color: var(--soft); width: 34%; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 14px 18px; }
.charts figure { margin: 0; }
.charts figcaption { font-size: 13px; font-weight: 600; }
.charts figcaption > span { font-weight: 400; font-size: 12px; font-variant-numeric: tabular-nums; display: block; }
.charts figcaption > span > span { margin-right: 10px; white-space: nowrap; }
.chart { width: 100%; display: block; }
.chart text { font-size: 9.5px; fill: #7b8491; }
.chart .y { text-anchor: end; }
.chart .x { text-anchor: middle; }
.chart .grid { stroke: #eceff3; }
.chart .zero { stroke: #b9c0ca; }
.chart polyline { fill: none; stroke-linejoin: round; }
.chart .line { stroke-width: 1.6; }
.chart .raw { stroke-width: .8; stroke-opacity: .28; }
footer { color: var(--soft); font-size: 13px; padding: 6px 0 34px; }
footer strong { color: var(--ink); }
@media (max-width: 720px) { main, header > div, footer > div { padding: 0 12px; } section { padding: 14px; }
  .cells { grid-template-columns: repeat(2, 1fr) !important; } .heads { display: none; }
  .cell .name { display: inline; } }
@media print { section, .panel, .charts figure { break-inside: avoid; } body { background: #fff; } }
"""
