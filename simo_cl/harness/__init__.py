"""A suite: read it, plan its runs, execute them."""

from simo_cl.harness.avalanche_settings import write_avalanche_settings

# Before any module here imports Avalanche, in whichever of the processes of a suite.
write_avalanche_settings()
