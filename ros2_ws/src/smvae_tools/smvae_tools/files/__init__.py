"""Files written from the code's own tables: parameters, layouts of viewers, policy, a page."""
