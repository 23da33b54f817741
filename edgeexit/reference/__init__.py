"""The bundles that ship with edgeexit, and a few hundred images to try them on: data, no code."""
