"""Files that survive crashes and forgeries: atomic writes, checksums, strict headers, plain YAML.

Knows no tensor library and no run. Reading order: atomic, foreign, checksummed, tensor_header,
plain_yaml.
"""
