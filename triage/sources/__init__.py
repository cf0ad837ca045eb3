"""Where evidence comes from: one file per source, each of which turns its faults into `Look`."""
