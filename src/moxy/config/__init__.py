"""The configuration: one schema, two formats, and its description.

`schema` is what can be set; `types` and `values` how it is spelled. `toml` and `classic` read the two formats into
`parsed`, `load` checks them against the schema and words the `complaints`. `describe` and `reference` print the schema
for people.
"""

from moxy.config.load import find_config, load, loads
from moxy.config.schema import Config

__all__ = ["Config", "find_config", "load", "loads"]
