"""Design-space exploration: many points of one network and machine, from a sweep file to a Pareto front."""
