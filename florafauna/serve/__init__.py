"""A local page that labels dropped photos: `florafauna serve`."""
