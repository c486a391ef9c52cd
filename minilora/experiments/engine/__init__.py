"""Plan, run, report: from configs (each with its seed) to results, and from results to tables and figures."""
