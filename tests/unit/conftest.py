"""Settings of all unit tests."""

import hypothesis

# A busy machine is slow at times, which is no defect of the code.
hypothesis.settings.register_profile('unit', deadline=None)
# For the environments "db", which take their time.
hypothesis.settings.register_profile('many', deadline=None, max_examples=1000)
hypothesis.settings.load_profile('unit')
