"""Synthetic DICOM sites: phantoms in valid files, for trials, tests and CI.

No patient stands behind them; every file says so (Synthetic Data, 0008,001C). What would identify
a patient in a real file holds a marker instead (:mod:`client_app.synth.markers`), so that a leak
can be searched for.
"""
