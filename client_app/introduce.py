"""What a site says of itself before the first round: counts, never images or names."""

from __future__ import annotations

from collections import Counter

import numpy as np

from client_app.site import LocalSite
from fedmend import histogram, installed, training
from fedmend.site import VIEWS
from fedmend.sums import Sums
from fedmend.wire import Introduction


def introduction(site: LocalSite) -> Introduction:
    """Decode, corrupt and score the site's images where that is still to be done; count them."""
    records, _ = site.rows()
    rejected = Counter(each.reason for each in site.source.rejected)
    classes = sorted({record.label for record in records if record.label is not None})
    return Introduction(
        name=site.name,
        version=installed.version(),
        models=training.fingerprint(site.settings),
        classes=tuple(classes),
        channels=site.settings.channels,
        # In a simulation the sites share one source: the first speaks for what it rejected.
        reasons=dict(sorted(rejected.items())) if site.share.number == 0 else {},
        sums=_counted(site),
    )


def _counted(site: LocalSite) -> Sums:
    views = {name: site.view(name) for name in VIEWS}
    train = views["train"]
    known = [view for view in views.values() if (view.noisy >= 0).any()]
    scores = [view.score[view.noisy >= 0] for view in known]
    truth = [view.noisy[view.noisy >= 0] == 1 for view in known]
    alarms = sum(int(view.alarm[view.noisy == 0].sum()) for view in known)
    clean = sum(int((view.noisy == 0).sum()) for view in known)
    detected = histogram.counts(
        np.concatenate([np.zeros(0), *scores]).astype(np.float64),
        np.concatenate([np.zeros(0, dtype=bool), *truth]).astype(bool),
    )
    counts = {
        "train": len(train.uids),
        "val": len(views["val"].uids),
        "test": len(views["test-noisy"].uids),
        "flagged": int(train.flagged.sum()),
        "clean": clean,
        "false_alarms": alarms,
        "unknown": int((~(train.flagged | train.clean)).any()),
    }
    return {"detection": detected} | {name: np.array([float(n)]) for name, n in counts.items()}
