# All metadata is in setup.cfg; setuptools hands it to pbr only when asked.
import setuptools

setuptools.setup(pbr=True)
