"""How the options of a group are made known to a configuration."""

from oslo_config import cfg


def register(
    conf: cfg.ConfigOpts, group: cfg.OptGroup, opts: list[cfg.Opt]
) -> None:
    """Make options known, in their group."""
    # A copy: oslo.config keeps the values in it, for all who registered it.
    conf.register_group(cfg.OptGroup(group.name, group.title))
    conf.register_opts(opts, group=group.name)
