"""The steps of the funnel: each a rule or a few that belong together, or a measurement."""
