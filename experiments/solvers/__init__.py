"""How the solvers handle hard inputs."""
