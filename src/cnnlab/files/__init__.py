"""Files that survive kills and strangers: atomic writes, seals, strict headers, plain YAML.

Knows no tensor library and no run. Reading order: atomic, foreign, checksummed, tensor_header,
plain_yaml.
"""
