"""Board descriptions, one JSON file a board: data, no code."""
