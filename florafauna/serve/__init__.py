"""A page on this machine that labels dropped photos: `florafauna serve`."""
