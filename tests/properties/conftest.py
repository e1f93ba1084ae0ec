"""The same examples in every run, so that a change and nothing else turns a test red; `--hypothesis-profile=explore`
looks for new ones."""

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", max_examples=3000, deadline=None)
settings.load_profile("same")
