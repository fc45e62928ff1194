"""A command from its arguments to its exit code: verbs -> line -> composing -> jobs -> sweeps.

A single job is composed once, by composing.check, and that config is what runs. Only what needs
more of Hydra than a composed config (sweeps, --cfg, its own settings) goes through hydra.main.
The only files that know Hydra and OmegaConf.
"""
