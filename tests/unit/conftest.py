"""Settings of all unit tests."""

import hypothesis

# A busy machine is slow at times, which is no defect of the code.
hypothesis.settings.register_profile('unit', deadline=None)
hypothesis.settings.load_profile('unit')
