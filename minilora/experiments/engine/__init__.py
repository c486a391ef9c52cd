"""Plan, run, report: what turns a config with its seed into a result, and results into tables and figures."""
