"""A site's warm worker: one process per site that has torch and the app imported.

Flower starts a process for every message. That process hands the message to the worker over a
Unix socket in the site's private folder, and so imports nothing of ours that is heavy.
"""
