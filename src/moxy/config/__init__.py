"""The configuration: one schema, two formats, and its description.

`load` is the way in. `schema`, with `routes`, `logs` and others, is what can be set; `types` and `values` are how it is
spelled; `kinds` finds what other packages add. `toml` and `classic` read the two formats into `parsed`, which `load`
checks against the schema; `complaints` words what is wrong. `sections` is the schema in words, and `describe` prints
them.
"""
