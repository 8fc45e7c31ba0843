"""A survey as one page that needs nothing else. It shows patients' images: it stays at the site.

What files and headers say is text to it, never markup.
"""

from __future__ import annotations

import base64
from typing import Any

from client_app.listing import legible
from client_app.survey import scores
from client_app.survey.counts import left_over
from client_app.survey.look import Survey
from client_app.survey.scores import Bin, Score
from fedmend.settings import Settings
from fedmend.stylesheet import STYLESHEET

MOST_FILES = 200
"""Files that are named under one reason."""
MOST_VALUES = 12
"""Values that are named of one trait."""
_WIDTH, _HEIGHT = 720, 220
_LEFT, _BOTTOM, _TOP = 8, 28, 30


def rendered(survey: Survey, settings: Settings, source: str) -> str:
    """Return the page's HTML.

    Args:
        survey: what it shows.
        settings: by which the images were seen and scored.
        source: what was looked at, as the user named it.
    """
    import jinja2

    pages = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters["legible"] = legible
    return pages.from_string(TEMPLATE).render(content(survey, settings, source))


def content(survey: Survey, settings: Settings, source: str) -> dict[str, Any]:
    """Return what the page shows, in the order shown."""
    refused = sum(len(files) for _, files in survey.refused)
    totals = survey.counts.totals | left_over(survey.refused)
    bins = scores.distribution(survey.scores) if survey.scores else []
    return {
        "source": source,
        "facts": [*totals.items(), ("cannot be used", refused)],
        "images": len(survey.scores),
        "flagged": sum(score.flagged for score in survey.scores),
        "agreement": scores.agreement(survey.scores),
        "kinds": [(title, values[:MOST_VALUES], len(values[MOST_VALUES:]))
                  for title, values in survey.counts.kinds.items()],
        "bins": bins,
        "bars": bars(bins),
        "drawing": {"width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "foot": _HEIGHT - _BOTTOM},
        "pictures": [picture(score, png) for score, png in survey.thumbnails],
        "refused": [(reason, len(files), files[:MOST_FILES]) for reason, files in survey.refused],
        "most_files": MOST_FILES,
        "detector": settings.detector,
        "size": settings.image_size,
        "colour": "grey" if settings.channels == 1 else "RGB",
    }  # fmt: skip


def bars(bins: list[Bin]) -> list[dict[str, Any]]:
    """Return the histogram's bars: their places in the drawing, the flagged part on top."""
    most = max((each.clear + each.flagged for each in bins), default=1)
    step = (_WIDTH - 2 * _LEFT) / max(len(bins), 1)
    room, foot = _HEIGHT - _BOTTOM - _TOP, _HEIGHT - _BOTTOM
    drawn = []
    for place, each in enumerate(bins):
        clear, flagged = (room * part / most for part in (each.clear, each.flagged))
        parts = [("clear", foot - clear, clear), ("flagged", foot - clear - flagged, flagged)]
        drawn.append(
            {
                "x": _LEFT + place * step,
                "width": step - 4,
                "parts": [part for part in parts if part[2]],
                "top": foot - clear - flagged - 6,
                "images": each.clear + each.flagged,
                "low": each.low,
            }
        )
    return drawn


def picture(score: Score, png: bytes) -> dict[str, Any]:
    """Return what is shown of one image."""
    _, height, width = score.shape
    known = (score.traits.modality, f"{height} x {width}", score.label or "")
    return {
        "data": base64.b64encode(png).decode("ascii"),
        "name": str(score.place),
        "score": f"{score.value:.2f}",
        "flagged": score.flagged,
        "words": ", ".join(word for word in known if word),
    }


TEMPLATE = (
    """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{{ source | legible }} – fedmend inspection</title>
<style>
"""
    + STYLESHEET
    + """\
h1 { font-size: 24px; }
.kinds { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 8px 36px; align-items: start; }
.kinds h3 { margin-top: 12px; }
.kinds h3::first-letter { text-transform: uppercase; }
.kinds th, .kinds td { padding: 5px 4px; }
.kinds tbody th { font-weight: 400; min-width: 0; max-width: none; overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 860px; height: auto; }
svg text { fill: var(--soft); font-size: 13px; font-family: inherit; text-anchor: middle; }
svg .clear { fill: var(--s0); } svg .flagged { fill: var(--s1); }
svg line { stroke: var(--edge); stroke-width: 1; }
.key { display: inline-block; width: 11px; height: 11px; margin: 0 5px 0 12px; border-radius: 2px; }
.key.clear { background: var(--s0); margin-left: 0; } .key.flagged { background: var(--s1); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 18px 16px; margin: 0; padding: 0; list-style: none; }
.pictures img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border: 1px solid var(--edge); border-radius: 6px; }
.pictures .score { margin: 6px 0 0; font-weight: 650; font-variant-numeric: tabular-nums; }
.pictures .flag { margin-left: 6px; padding: 1px 8px; font-size: 12px; font-weight: 600; color: var(--s1); border: 1px solid currentColor; border-radius: 99px; }
.pictures p { margin: 0; font-size: 13px; line-height: 1.4; color: var(--soft); overflow-wrap: anywhere; }
.pictures p.score { font-size: 15px; color: var(--ink); }
.files { margin: 6px 0 0; padding-left: 20px; font-size: 14px; overflow-wrap: anywhere; }
.files span { color: var(--soft); }
.refused td:first-child { white-space: nowrap; width: 1%; }
@media (max-width: 560px) { svg text { font-size: 21px; } .pictures { grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); } }
@media print { .pictures li { break-inside: avoid; } .pictures { grid-template-columns: repeat(6, 1fr); } }
</style>
</head>
<body>
<header>
<p class="eyebrow">fedmend: inspection of a folder</p>
<h1>{{ source | legible }}</h1>
</header>
<main>

<section aria-labelledby="totals">
<h2 id="totals" class="hidden">What is there in numbers</h2>
<dl class="facts">
{% for name, number in facts %}
<div><dt>{{ name }}</dt><dd>{{ "{:,}".format(number) }}</dd></div>
{% endfor %}
<div><dt>flagged as noisy</dt><dd>{{ "{:,}".format(flagged) }}</dd></div>
</dl>
</section>

<section aria-labelledby="noise">
<h2 id="noise">Noise</h2>
<p class="lead">The score of {{ detector | legible }}, blind and without a reference, of each image as a run sees it: {{ colour }}, fitted into {{ size }} x {{ size }} pixels. Larger is noisier.</p>
{% if images %}
<p class="lead"><span class="key clear"></span>not flagged<span class="key flagged"></span>flagged; below each bar, the lower end of its scores</p>
<svg viewBox="0 0 {{ drawing.width }} {{ drawing.height }}" role="img" aria-label="Number of images by score; the same as a table below">
<line x1="{{ drawing.left }}" x2="{{ drawing.width - drawing.left }}" y1="{{ drawing.foot }}" y2="{{ drawing.foot }}"/>
{% for bar in bars %}
{% for kind, top, height in bar.parts %}
<rect class="{{ kind }}" x="{{ '%.1f' % bar.x }}" y="{{ '%.1f' % top }}" width="{{ '%.1f' % bar.width }}" height="{{ '%.1f' % height }}"/>
{% endfor %}
{% if bar.images %}
<text x="{{ '%.1f' % (bar.x + bar.width / 2) }}" y="{{ '%.1f' % bar.top }}">{{ "{:,}".format(bar.images) }}</text>
{% endif %}
<text x="{{ '%.1f' % (bar.x + bar.width / 2) }}" y="{{ drawing.height - 6 }}">{{ "%.1f" % bar.low }}</text>
{% endfor %}
</svg>
<details>
<summary>The same as a table</summary>
<div class="scroll" role="region" aria-label="Scores" tabindex="0">
<table>
<thead><tr><th scope="col">Score</th><th scope="col">Images</th><th scope="col">Flagged</th></tr></thead>
<tbody>
{% for bin in bins %}
<tr><th scope="row">{{ "%.1f" % bin.low }} to {{ "%.1f" % bin.high }}</th><td>{{ "{:,}".format(bin.clear + bin.flagged) }}</td><td>{{ "{:,}".format(bin.flagged) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
{% if agreement is not none %}
<p class="lead">AUROC against what the site itself vouches for: {{ "%.3f" % agreement }}</p>
{% endif %}
{% else %}
<p class="lead">There is no image here that can be used.</p>
{% endif %}
</section>

{% if pictures %}
<section aria-labelledby="worst">
<h2 id="worst">The noisiest {{ pictures | length }}</h2>
<p class="lead">As the detector saw them, worst first.</p>
<ul class="pictures">
{% for each in pictures %}
<li><img src="data:image/png;base64,{{ each.data }}" alt="Image {{ loop.index }} by noise, score {{ each.score }}: {{ each.name | legible }}">
<p class="score">{{ each.score }}{% if each.flagged %}<span class="flag">flagged</span>{% endif %}</p>
<p>{{ each.words | legible }}</p>
<p>{{ each.name | legible }}</p></li>
{% endfor %}
</ul>
</section>
{% endif %}

{% if kinds %}
<section aria-labelledby="kinds">
<h2 id="kinds">What is there</h2>
<div class="kinds">
{% for title, values, more in kinds %}
<div>
<h3 id="kind-{{ loop.index }}">{{ title }}</h3>
<table aria-labelledby="kind-{{ loop.index }}">
<thead class="hidden"><tr><th scope="col">Value</th><th scope="col">Images</th></tr></thead>
<tbody>
{% for value, number in values %}
<tr><th scope="row">{{ value | legible }}</th><td>{{ "{:,}".format(number) }}</td></tr>
{% endfor %}
</tbody>
</table>
{% if more %}
<p class="lead">and {{ "{:,}".format(more) }} more</p>
{% endif %}
</div>
{% endfor %}
</div>
</section>
{% endif %}

<section aria-labelledby="refused">
<h2 id="refused">Cannot be used</h2>
{% if refused %}
<p class="lead">Files, and rows of the label table, that no run would use; by reason, the most frequent first.</p>
<table class="refused">
<thead><tr><th scope="col">Files</th><th scope="col" class="text">Reason</th></tr></thead>
<tbody>
{% for reason, number, files in refused %}
<tr><td>{{ "{:,}".format(number) }}</td><td class="text">{{ reason | legible }}
<details>
<summary>Which</summary>
<ul class="files">
{% for file in files %}
<li>{{ file.source | legible }}{% if file.detail %} <span>({{ file.detail | legible }})</span>{% endif %}</li>
{% endfor %}
{% if number > most_files %}
<li>and {{ "{:,}".format(number - most_files) }} more: <code>fedmend inspect --list</code> names all</li>
{% endif %}
</ul>
</details></td></tr>
{% endfor %}
</tbody>
</table>
{% else %}
<p class="lead">Every file can be used.</p>
{% endif %}
</section>

</main>
<footer>Made by fedmend inspect. This page shows images and file names of patients: keep it at the site.</footer>
</body>
</html>
"""
)
