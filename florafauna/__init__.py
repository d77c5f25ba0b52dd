"""florafauna: a data-versioned pipeline that finds the best image classifier for photos of flora and fauna."""

import os

__version__ = "0.1.0"

# Arrow's own pool holds on to what tables have freed, half as much again as a split of 100,000 photos needs.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
