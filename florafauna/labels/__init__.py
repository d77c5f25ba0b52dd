"""Which photo has which label: tables, metadata formats and folder names, read into one table of photos."""
