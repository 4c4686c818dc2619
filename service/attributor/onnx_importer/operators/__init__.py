"""The operators, by family. Importing a module declares its operators in `node.OPERATORS`."""
