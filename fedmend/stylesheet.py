"""The style that fedmend's pages share: light and dark, on screens from 420 pixels, and on paper.

A page takes it into its own ``<style>``, since it must not ask the network for anything.
"""

from __future__ import annotations

STYLESHEET = """\
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #17202a; --soft: #55606e; --edge: #d9dee5;
  --accent: #0b5cad; --best: #e4effa; --note: #fdf3dd; --note-edge: #c98a12;
  --s0: #0b5cad; --s1: #b03a00; --s2: #00704a; --s3: #7a3db8; --s4: #8a6100; --s5: #4d5866;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101418; --card: #181e25; --ink: #e8ecf1; --soft: #a3afbd; --edge: #333d48;
    --accent: #7db7f2; --best: #1e3850; --note: #2d2615; --note-edge: #d9a441;
    --s0: #7db7f2; --s1: #ff9d66; --s2: #5fd0a0; --s3: #c9a2f5; --s4: #e3c05c; --s5: #b3bfcc;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
footer { max-width: 1120px; margin: 0 auto; padding: 8px 24px 40px; color: var(--soft); font-size: 14px; }
.eyebrow { margin: 0; color: var(--soft); font-size: 14px; letter-spacing: .02em; }
h1 { margin: 2px 0 18px; font-size: 30px; line-height: 1.2; font-weight: 650; overflow-wrap: anywhere; }
h2 { margin: 0 0 4px; font-size: 20px; line-height: 1.3; font-weight: 650; }
h3 { margin: 22px 0 4px; font-size: 16px; font-weight: 650; }
section { background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 22px 24px 24px; margin: 18px 0; }
.lead { margin: 0 0 14px; color: var(--soft); font-size: 15px; max-width: 76ch; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px 20px; margin: 0; }
.facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.facts dt { color: var(--soft); font-size: 14px; line-height: 1.35; }
.facts dd { margin: 0; font-size: 20px; line-height: 1.35; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.facts .words { grid-column: span 2; }
.facts .words dd { font-size: 17px; line-height: 27px; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 10px; border-bottom: 1px solid var(--edge); text-align: right; font-size: 15px; vertical-align: top; }
thead th { color: var(--soft); font-size: 13px; line-height: 1.3; font-weight: 600; vertical-align: bottom; }
thead th.group { color: var(--ink); font-size: 14px; text-align: center; border-bottom: 2px solid var(--edge); }
tbody tr:last-child > * { border-bottom: 0; }
th:first-child, td.text, th.text { text-align: left; }
tbody th { font-weight: 600; min-width: 8em; max-width: 26em; overflow-wrap: break-word; }
tbody th .meaning { display: block; font-weight: 400; font-size: 13px; line-height: 1.35; color: var(--soft); }
td.text { overflow-wrap: anywhere; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 4px 44px; }
.two table { width: 100%; min-width: 0; }
details { margin-top: 8px; }
summary { cursor: pointer; color: var(--accent); font-size: 14px; width: fit-content; }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 560px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; } section { padding: 16px; }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --edge: #bbb; --accent: #0b5cad;
    --best: #e4effa; --note: #fff; --note-edge: #c98a12;
    --s0: #0b5cad; --s1: #b03a00; --s2: #00704a; --s3: #7a3db8; --s4: #8a6100; --s5: #4d5866;
  }
  @page { size: A4 landscape; margin: 14mm; }
  body { font-size: 11pt; } main, header, footer { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--edge); border-radius: 0; padding: 12px 0; margin: 8px 0; }
  figure, tr { break-inside: avoid; } h2, h3, figcaption { break-after: avoid; }
  .scroll { overflow: visible; } details { display: none; }
}
"""
