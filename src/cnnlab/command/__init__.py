"""A command from its words to its exit code: verbs -> line -> composing -> jobs -> sweeps.

With the settings' YAML reader the only files that know Hydra and OmegaConf.
"""
