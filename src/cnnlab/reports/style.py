"""The frame and the style of a report page: light or dark, one column on a phone, else two."""

FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
"""Every page: its title (as HTML), style and body. It runs no program and fetches nothing."""

_COLORS = """
:root { color-scheme: light; --paper: #fff; --ink: #1a1a1a; --soft: #505050; --line: #d0d0d0;
  --faint: #e6e6e6; --block: #f5f5f5; }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --paper: #16181b; --ink: #e4e6e8; --soft: #a9afb6; --line: #42484f;
    --faint: #2c3136; --block: #1f2327; }
  .plot img { filter: invert(.915) hue-rotate(180deg); }
  .drawing img { border-radius: .3rem; filter: brightness(.9); }
}
"""

_TEXT = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; line-height: 1.35; margin: 0; overflow-wrap: anywhere; }
section, details { border-top: 1px solid var(--line); padding: 1rem 0; min-width: 0; }
summary { cursor: pointer; }
summary h2 { display: inline; }
p { max-width: 45rem; margin: .75rem 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; background: var(--block); padding: .75rem; margin: .75rem 0;
  border-radius: .3rem; font-size: .85rem; line-height: 1.4; }
"""

_TABLES = """
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: .25rem 1rem .25rem 0; text-align: right; white-space: nowrap;
  vertical-align: top; }
th { font-weight: normal; }
.words { text-align: left; }
.long { white-space: normal; min-width: 12rem; max-width: 34rem; overflow-wrap: anywhere; }
thead th { font-weight: 600; border-bottom: 2px solid var(--ink);
  vertical-align: bottom; }
tbody tr { border-bottom: 1px solid var(--faint); }
"""

_PICTURES = """
figure { margin: .75rem 0; min-width: 0; }
img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 45rem; overflow-wrap: anywhere;
  margin-top: .25rem; }
.gallery { display: grid; gap: 1rem; margin: .75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
.gallery figure { margin: 0; }
.gallery img { width: 100%; max-width: 11rem; image-rendering: pixelated; background: #eee; }
.gallery figcaption { font-size: .8rem; line-height: 1.35; }
.dense { gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(2.7rem, 1fr)); }
.dense img { border: 1px solid var(--soft); max-width: 5.5rem; }
.dense figcaption { font-size: .65rem; }
.scale { max-width: 20rem; margin: .75rem 0; font-size: .8rem; color: var(--soft); }
.scale div { height: .8rem; border: 1px solid var(--soft);
  background: linear-gradient(to right, #000, #fff); }
.scale p { display: flex; justify-content: space-between; margin: .15rem 0 0; }
"""

_WIDTHS = """
@media (min-width: 1000px) {
  .page, .parts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr));
    column-gap: 2.5rem; align-items: start; }
  .page > *, .parts > * { grid-column: 1 / -1; }
  .page > .half, .parts > .narrow { grid-column: auto; }
  .half .parts { display: block; }
}
@media (max-width: 500px) {
  main { padding: .5rem .7rem 3rem; }
  h1 { font-size: 1.3rem; }
  table { font-size: .82rem; }
  th, td { padding-right: .6rem; }
  .long { min-width: 10rem; }
  .drawing .wide img, .plot .wide img { max-width: 46rem; }
  .gallery { gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); }
  .dense { gap: .4rem; grid-template-columns: repeat(auto-fill, minmax(3rem, 1fr)); }
}
@media print { details { display: block; } section { break-inside: avoid; } }
"""

STYLE = _COLORS + _TEXT + _TABLES + _PICTURES + _WIDTHS
