"""The searchers, one a file: each has a `Config` and `build(config, latents, seed) -> Searcher`."""
