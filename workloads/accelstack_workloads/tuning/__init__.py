"""The search for settings: what is searched, the study that processes share, a trial, and what came of it."""
