"""The report's page, as a Jinja template.

It is a module because Flower bundles no other kind of file that could hold it.
"""

from __future__ import annotations

from fedmend.stylesheet import STYLESHEET

TEMPLATE = (
    """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{{ run }} – fedmend report</title>
<style>
"""
    + STYLESHEET
    + """\
.status { display: inline-block; vertical-align: 5px; margin-left: 10px; padding: 2px 10px; font-size: 13px;
  line-height: 1.4; font-weight: 600; border: 1px solid currentColor; border-radius: 99px; color: var(--accent); }
.finding { border-left: 4px solid var(--accent); }
.finding p { margin: 4px 0; font-size: 18px; }
.finding .caution { margin-top: 12px; padding: 10px 14px; font-size: 15px; background: var(--note);
  border-left: 3px solid var(--note-edge); border-radius: 4px; }
table.narrow { width: auto; min-width: min(560px, 100%); }
.scores th, .scores td { padding-left: 7px; padding-right: 7px; }
.scores tbody th { min-width: 165px; }
.scores .first { border-left: 1px solid var(--edge); padding-left: 12px; }
td.best { background: var(--best); font-weight: 700; }
figure { margin: 18px 0 0; }
figcaption { font-weight: 600; margin-bottom: 6px; }
svg { display: block; width: 100%; max-width: 860px; height: auto; }
svg text { fill: var(--soft); font-size: 13px; font-family: inherit; }
svg .grid { stroke: var(--edge); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
.c0 { stroke: var(--s0); } .c1 { stroke: var(--s1); } .c2 { stroke: var(--s2); }
.c3 { stroke: var(--s3); } .c4 { stroke: var(--s4); } .c5 { stroke: var(--s5); }
svg text.c0, svg circle.c0 { fill: var(--s0); stroke: none; } svg text.c1, svg circle.c1 { fill: var(--s1); stroke: none; }
svg text.c2, svg circle.c2 { fill: var(--s2); stroke: none; } svg text.c3, svg circle.c3 { fill: var(--s3); stroke: none; }
svg text.c4, svg circle.c4 { fill: var(--s4); stroke: none; } svg text.c5, svg circle.c5 { fill: var(--s5); stroke: none; }
svg text.name { font-weight: 650; font-size: 14px; }
.c1 { stroke-dasharray: 7 5; } .c2 { stroke-dasharray: 2 5; } .c3 { stroke-dasharray: 10 4 2 4; }
.c4 { stroke-dasharray: 14 5; } .c5 { stroke-dasharray: 4 3; }
.terms { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: 6px 18px; font-size: 15px; }
.terms dt { font-weight: 600; } .terms dd { margin: 0; color: var(--soft); max-width: 76ch; }
@media (max-width: 560px) {
  .terms { grid-template-columns: 1fr; gap: 2px; } .terms dd { margin-bottom: 8px; }
}
@media print {
  .finding { border-left: 0; }
  td.best { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
</style>
</head>
{% macro pairs(title, items) %}
<table>
<thead class="hidden"><tr><th scope="col">{{ title }}</th><th scope="col">Value</th></tr></thead>
<tbody>
{% for label, value in items %}
<tr><th scope="row">{{ label }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endmacro %}
<body>
<header>
<p class="eyebrow">fedmend: report of a run</p>
<h1>{{ run }}<span class="status">{{ status }}</span></h1>
</header>
<main>

<section class="finding" aria-labelledby="finding">
<h2 id="finding">Finding</h2>
{% for sentence in findings %}
<p{% if loop.last %} class="caution"{% endif %}>{{ sentence }}</p>
{% endfor %}
</section>

<section aria-labelledby="run">
<h2 id="run" class="hidden">The run in numbers</h2>
<dl class="facts">
{% for label, value in facts %}
<div{% if label == "classes" %} class="words"{% endif %}><dt>{{ label }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
</section>

<section aria-labelledby="arms">
<h2 id="arms">Classification</h2>
<p class="lead">One classifier an arm, all from the same initial weights and with the same number of steps; the arms differ in the images they are trained on. Every arm answers for the same test images. Marked: the best of a column, the oracle aside.</p>
<div class="scroll" role="region" aria-labelledby="arms" tabindex="0">
<table class="scores">
<thead>
<tr>
<th scope="col" rowspan="2">Arm</th>
{% for key, title in tests %}
<th scope="colgroup" colspan="{{ headings | length }}" class="group first">{{ title }}</th>
{% endfor %}
</tr>
<tr>
{% for key, title in tests %}
{% for heading in headings %}
<th scope="col"{% if loop.first %} class="first"{% endif %}>{{ heading }}</th>
{% endfor %}
{% endfor %}
</tr>
</thead>
<tbody>
{% for arm in arms %}
<tr>
<th scope="row">{{ arm.name }}<span class="meaning">{{ arm.meaning }}</span></th>
{% for cell in arm.cells %}
<td class="{{ 'first' if cell.first }}{{ ' best' if cell.best }}">{{ cell.text }}{% if cell.best %}<span class="hidden"> (best)</span>{% endif %}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if arms %}
<p class="lead" style="margin: 12px 0 0">Test images: {{ arms[0].counts[0] }} clean, {{ arms[0].counts[1] }} with noise.</p>
{% endif %}
</section>

<section aria-labelledby="imputation">
<h2 id="imputation">Imputation</h2>
<p class="lead">How close the noisy test images come to the images beneath the noise, before and after they are mended, and how well noisy images are found without a reference.</p>
<div class="two">
<div>
<h3>Mending</h3>
{% if mending %}
<div class="scroll" role="region" aria-label="Mending" tabindex="0">
<table>
<thead><tr><th scope="col">Noisy test images</th><th scope="col">Images</th><th scope="col">PSNR (dB)</th><th scope="col">SSIM</th></tr></thead>
<tbody>
{% for row in mending %}
<tr><th scope="row">{{ row.name }}</th><td>{{ row.n }}</td><td>{{ row.psnr }}</td><td>{{ row.ssim }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% else %}
<p class="lead">{{ unknown }} No imputer was trained in this run.</p>
{% endif %}
</div>
<div>
<h3>Detection</h3>
{{ pairs("Measure", detection) }}
</div>
</div>
{% if routes.rows %}
<h3>What mends which kind of noise</h3>
<p class="lead">Mean PSNR in dB of clean validation images with noise on them, sorted by what the detector takes it for. Marked: what mends that kind. The imputer also mends kinds that too few images were met of.</p>
<div class="scroll" role="region" aria-label="What mends which kind of noise" tabindex="0">
<table>
<thead><tr><th scope="col">Noise</th>{% for method in routes.methods %}<th scope="col">{{ method }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in routes.rows %}
<tr><th scope="row" style="white-space: nowrap">{{ row.kind }}</th>{% for cell in row.cells %}<td{% if cell.chosen %} class="best"{% endif %}>{{ cell.text }}{% if cell.chosen %}<span class="hidden"> (chosen)</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
</section>

<section aria-labelledby="training">
<h2 id="training">Training</h2>
<p class="lead">Score of the shared model on the sites' validation images, merged over the sites, by the rounds it was trained for (0: the initial weights). The best one is kept, not the last.</p>
{% for chart in charts %}
<figure>
<figcaption id="chart-{{ chart.id }}">{{ chart.title }}</figcaption>
<svg viewBox="0 0 {{ drawing.WIDTH }} {{ drawing.HEIGHT }}" role="img" aria-labelledby="chart-{{ chart.id }}">
{% for tick in chart.drawing.up %}
<line class="grid" x1="{{ drawing.LEFT }}" x2="{{ drawing.WIDTH - drawing.RIGHT }}" y1="{{ '%.1f' % tick.at }}" y2="{{ '%.1f' % tick.at }}"/>
<text x="{{ drawing.LEFT - 9 }}" y="{{ '%.1f' % (tick.at + 4.5) }}" text-anchor="end">{{ tick.label }}</text>
{% endfor %}
{% for tick in chart.drawing.across %}
<text x="{{ '%.1f' % tick.at }}" y="{{ drawing.HEIGHT - drawing.BOTTOM + 19 }}" text-anchor="middle">{{ tick.label }}</text>
{% endfor %}
<text x="{{ (drawing.LEFT + drawing.WIDTH - drawing.RIGHT) / 2 }}" y="{{ drawing.HEIGHT - 5 }}" text-anchor="middle">rounds trained</text>
{% for line in chart.drawing.lines %}
{% set colour = loop.index0 % 6 %}
<polyline class="c{{ colour }}" points="{{ line.path }}"/>
{% for x, y in line.points %}
<circle class="c{{ colour }}" cx="{{ '%.1f' % x }}" cy="{{ '%.1f' % y }}" r="2.75"/>
{% endfor %}
{% if chart.drawing.lines | length > 1 %}
<text class="name c{{ colour }}" x="{{ '%.1f' % (line.points[-1][0] + 11) }}" y="{{ '%.1f' % (line.label_at + 4.5) }}">{{ line.name }}</text>
{% endif %}
{% endfor %}
</svg>
<details>
<summary>The same as a table</summary>
<div class="scroll" role="region" aria-label="{{ chart.title }}" tabindex="0">
<table class="narrow">
<thead><tr><th scope="col">Rounds trained</th>{% for name in chart.columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for round, values in chart.rows %}
<tr><th scope="row">{{ round }}</th>{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
</figure>
{% else %}
<p class="lead">{{ unknown }} No validation score is known.</p>
{% endfor %}
</section>

<section aria-labelledby="sites">
<h2 id="sites">Sites</h2>
<p class="lead">What each site answered over all rounds of all arms. A site that is left out of a round does not hold the others up, and is asked again in the next.</p>
{% if sites %}
<div class="scroll" role="region" aria-labelledby="sites" tabindex="0">
<table class="narrow">
<thead><tr><th scope="col">Site</th><th scope="col">Training images</th><th scope="col">Messages answered</th></tr></thead>
<tbody>
{% for site in sites %}
<tr><th scope="row">{{ site.name }}</th><td>{{ site.n }}</td><td>{{ site.answered }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% else %}
<p class="lead">{{ unknown }} No round is on record.</p>
{% endif %}
<h3>Left out</h3>
{% if left_out %}
<div class="scroll" role="region" aria-label="Sites left out" tabindex="0">
<table>
<thead><tr><th scope="col">Site</th><th scope="col" class="text">Reason</th><th scope="col" class="text">When</th></tr></thead>
<tbody>
{% for each in left_out %}
<tr><th scope="row">{{ each.name }}</th><td class="text">{{ each.reason }}</td><td class="text">{{ each.when }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% else %}
<p class="lead">No site was left out.</p>
{% endif %}
</section>

<section aria-labelledby="costs">
<h2 id="costs" class="hidden">Costs and privacy</h2>
<div class="two">
<div>
<h3 style="margin-top: 0">Time and traffic</h3>
{{ pairs("Cost", costs) }}
</div>
<div>
<h3 style="margin-top: 0">Privacy</h3>
<p class="lead">No image left a site: what crossed the wire are model arrays, counts and sums.</p>
{% if privacy %}
{{ pairs("Formal guarantee", privacy) }}
{% else %}
<p class="lead">Formal guarantee: {{ unknown }}</p>
{% endif %}
</div>
</div>
</section>

<section aria-labelledby="terms">
<h2 id="terms" style="margin-bottom: 12px">Terms</h2>
<dl class="terms">
<dt>{{ unknown }}</dt><dd>unknown, or not defined for these images</dd>
<dt>Mended, kept, dropped</dt><dd>what became of the training images held to be noisy: one that mending made no less noisy is kept as acquired, or dropped where it is all but surely noisy</dd>
<dt>Balanced accuracy</dt><dd>mean recall of the classes that occur</dd>
<dt>AUROC</dt><dd>probability that an image of a class scores higher for it than an image of another class does; mean over the classes, all sites' images pooled</dd>
<dt>AUROC, mean of sites</dt><dd>mean of the AUROC that each site has on its own images</dd>
<dt>F1</dt><dd>harmonic mean of precision and recall, mean over the classes</dd>
<dt>ECE</dt><dd>expected calibration error, 15 bins: how far confidence is from accuracy; smaller is better</dd>
<dt>PSNR, SSIM</dt><dd>closeness to the image beneath the noise; larger is better</dd>
</dl>
</section>

</main>
<footer>Made by fedmend from summary.json and metrics.jsonl, which lie beside this page and hold the same figures for machines. There is no image in any of them.</footer>
</body>
</html>
"""
)
