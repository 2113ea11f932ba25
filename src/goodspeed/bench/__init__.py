"""The load generator and the comparison of schedulers: `goodspeed bench` and `goodspeed demo`."""
