"""Training rows that are read in passing, from sources of any size: shards, mixtures of sources, and their place in a run."""
