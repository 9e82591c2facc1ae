"""Everything between a stage and a model: prompts, schemas, journal, limits, retries."""
