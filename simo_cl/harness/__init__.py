"""A suite: read it, plan its runs, execute them."""
